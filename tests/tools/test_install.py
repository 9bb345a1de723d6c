"""pip install in an empty environment, on a machine without a compiler."""
import os
import subprocess
import venv

import pytest

from tests.conftest import MINI, ROOT, SHORT, copy_of_project

# numpy of pip's choice, a look at OpenCV's build, and one training step.
STATE = '''
import cv2, ghostdet, mmcv.ops, torch
from ghostdet import ops
windows = [line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")]
print(windows, ops.origin())
'''


@pytest.mark.network
def test_pip_installs_all_that_a_training_step_needs(shapes, tmp_path):
    venv.create(tmp_path / 'venv', with_pip=True)
    python = tmp_path / 'venv/bin/python'
    copy_of_project(tmp_path / 'source')
    # Programs that a build may ask for are not on the PATH; a wheel of this machine's own is no choice for pip.
    settings = dict(os.environ, PATH=str(tmp_path / 'venv/bin'), CC='/bin/false', CXX='/bin/false', PIP_NO_CACHE_DIR='1', PIP_FIND_LINKS='')

    def run(*command):
        result = subprocess.run([str(part) for part in command], cwd=tmp_path, env=settings, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout + result.stderr

    run(python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', f'{tmp_path}/source[train]')
    state = run(python, '-c', STATE)
    assert "'  GUI:                           NONE'" in state  # the headless build was installed last
    assert 'through ghostdet.ops' in state
    run(python, ROOT / 'tools/train.py', MINI, '--data-root', shapes, '--work-dir', tmp_path / 'run', '--cfg-options', *SHORT,
        'train_cfg.max_epochs=1')
    assert (tmp_path / 'run/epoch_1.pth').is_file()
    assert (tmp_path / 'run/coco.json').is_file()
