"""pip install in an empty environment, on a machine without a compiler."""
import os
import subprocess
import venv

import pytest

from tests.conftest import MINI, ROOT, SHORT, copy_of_project

OPENCV = 'import cv2; print([line for line in cv2.getBuildInformation().splitlines() if "GUI:" in line])'


@pytest.mark.network
def test_pip_installs_all_that_a_training_step_needs(shapes, tmp_path):
    venv.create(tmp_path / 'venv', with_pip=True)
    python = tmp_path / 'venv/bin/python'
    copy_of_project(tmp_path / 'source')
    # No compiler on the PATH or by name; nothing but what the registry has.
    settings = dict(os.environ, PATH=str(tmp_path / 'venv/bin'), CC='/bin/false', CXX='/bin/false',
                    PIP_NO_CACHE_DIR='1', PIP_FIND_LINKS='')

    def run(*command):
        result = subprocess.run([str(part) for part in command], cwd=tmp_path, env=settings, capture_output=True,
                                text=True)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout + result.stderr

    run(python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', f'{tmp_path}/source[train]')
    assert 'through ghostdet.ops' in run(python, '-c', 'import ghostdet.ops; print(ghostdet.ops.origin())')
    run(python, ROOT / 'tools/train.py', MINI, '--data-root', shapes, '--work-dir', tmp_path / 'run', '--cfg-options',
        *SHORT, 'train_cfg.max_epochs=1')
    assert (tmp_path / 'run/epoch_1.pth').is_file()
    assert (tmp_path / 'run/coco.json').is_file()
    # pip leaves the OpenCV with windows, for mmcv asks for it; the cure that ghostdet.images.opencv names:
    run(python, '-m', 'pip', 'uninstall', '-y', 'opencv-python', 'opencv-python-headless')
    run(python, '-m', 'pip', 'install', '-q', 'opencv-python-headless')
    assert 'NONE' in run(python, '-c', OPENCV)
    run(python, '-c', 'import ghostdet')
