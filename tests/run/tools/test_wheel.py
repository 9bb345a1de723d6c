"""The wheel, used in an empty folder without a clone. Its packages are those of this environment."""
import json
import os
import subprocess
import sys
import zipfile

import pytest

from ghostdet import __version__
from ghostdet.packaged_configs import packaged_configs
from tests.conftest import SHORT, copy_of_project, made_by

CONFIG = 'retinanet_ghostnet_1.1x_mini'


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    copy_of_project(folder / 'source')
    made_by(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', folder,
            folder / 'source')
    (file,) = folder.glob('*.whl')
    return file


def test_it_has_the_configs_and_nothing_else_of_the_clone(wheel):
    assert f'-{__version__}-' in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert 'Requires-Dist: torch' in archive.read(f'ghostdet-{__version__}.dist-info/METADATA').decode()
    assert {name.split('/')[0] for name in names} == {'ghostdet', f'ghostdet-{__version__}.dist-info'}
    assert {'ghostdet/py.typed', 'ghostdet/.mim/model-index.yml', 'ghostdet/.mim/configs/metafile.yml',
            'ghostdet/.mim/configs/_base_/mini.py', f'ghostdet/.mim/configs/{CONFIG}.py'} <= set(names)


def test_the_sdist_installs_the_same_files(wheel, tmp_path):
    made_by(sys.executable, '-m', 'build', '-q', '--sdist', '--no-isolation', '--outdir', tmp_path,
            wheel.parent / 'source')
    file, = tmp_path.glob('*.tar.gz')
    made_by(sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-build-isolation', '--target',
            tmp_path / 'installed', file)
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith('ghostdet/')}
    installed = {str(path.relative_to(tmp_path / 'installed')) for path in (tmp_path / 'installed/ghostdet').rglob('*')}
    assert names <= installed

# Several commands in one process: importing torch for each takes most of the time.
COMMANDS = '''
import json, sys
import ghostdet
from ghostdet.cli.command import main
assert ghostdet.__file__.startswith(sys.argv[1]), ghostdet.__file__
for arguments in json.load(sys.stdin):
    sys.argv = ['ghostdet', *arguments]
    assert main() == 0, arguments
'''


@pytest.mark.nightly
def test_it_trains_tests_exports_and_predicts_in_an_empty_folder(wheel, shapes, tmp_path):
    installed, folder = tmp_path / 'installed', tmp_path / 'empty'
    folder.mkdir()
    made_by(sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', installed, wheel)
    environment = {**os.environ, 'PYTHONPATH': str(installed), 'PATH': f'{installed}/bin:{os.environ["PATH"]}'}

    def run(*command, **more):
        result = subprocess.run([str(part) for part in command], cwd=folder, env=environment, capture_output=True,
                                text=True, **more)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout
    assert len(run('ghostdet', 'configs').splitlines()) == len(packaged_configs())
    checkpoint, data = f'work_dirs/{CONFIG}/epoch_1.pth', ['--data-root', str(shapes)]
    commands = [['train', CONFIG, *data, '--cfg-options', *SHORT, 'train_cfg.max_epochs=1'],
                ['test', CONFIG, checkpoint, *data, '--cfg-options', *SHORT],
                ['export', CONFIG, checkpoint, '--format', 'openvino', '--out', 'detector.xml', '--shape', '64', '64',
                 '--images', str(shapes / 'val2017'), '--cfg-options', 'model.test_cfg.score_thr=0']]
    run(sys.executable, '-c', COMMANDS, installed, input=json.dumps(commands))
    assert 'boxes' in run('ghostdet', 'predict', 'detector.xml', shapes / 'val2017', '--out', 'found', '--threshold',
                          '0')
    assert (folder / 'found/detections.json').is_file()
    assert (folder / f'work_dirs/{CONFIG}/test/coco.json').is_file()
