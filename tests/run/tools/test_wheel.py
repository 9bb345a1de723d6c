"""The wheel, used in an empty folder without a clone. Its packages are those of this environment."""
import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from ghostdet import __version__
from ghostdet.packaged_configs import packaged_configs
from tests.conftest import ROOT, SHORT, copy_of_project, made_by

CONFIG = 'retinanet_ghostnet_1.1x_mini'


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    copy_of_project(folder / 'source')
    return wheel_of_sdist(folder / 'source')


def wheel_of_sdist(clone):
    """Build an sdist in dist/ of a clone, and a wheel from the sdist, as `make dist` does."""
    made_by(sys.executable, '-m', 'build', '-q', '--no-isolation', clone)
    file, = (clone / 'dist').glob('*.whl')
    return file


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_has_the_package_and_the_configs_and_nothing_else_of_the_clone(wheel):
    assert f'-{__version__}-' in wheel.name
    files, about = contents(wheel), f'ghostdet-{__version__}.dist-info'
    assert 'Requires-Dist: torch' in files[f'{about}/METADATA'].decode()
    package = [ROOT / 'ghostdet/py.typed', *(ROOT / 'ghostdet').rglob('*.py')]
    configs = [ROOT / 'model-index.yml', ROOT / 'configs/metafile.yml', *(ROOT / 'configs').rglob('*.py')]
    wanted = {file.relative_to(ROOT).as_posix(): file.read_bytes() for file in package}
    wanted |= {f'ghostdet/.mim/{file.relative_to(ROOT).as_posix()}': file.read_bytes() for file in configs}
    assert {name: content for name, content in files.items() if not name.startswith(about)} == wanted


def test_an_installed_wheel_finds_the_configs_in_itself(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (f'import sys; sys.path.insert(0, {str(tmp_path)!r}); from ghostdet.packaged_configs import find_config; '
            f'print(find_config({CONFIG!r}))')
    assert made_by(sys.executable, '-c', code).strip() == str(tmp_path / f'ghostdet/.mim/configs/{CONFIG}.py')


@pytest.mark.nightly
def test_clones_with_and_without_symlinks_build_the_same_wheel(tmp_path):
    """git on Windows makes no symlinks. `pip install .` builds from the clone, without an sdist."""
    if not (ROOT / '.git').exists():
        pytest.skip('not a clone')
    plain, windows = tmp_path / 'plain', tmp_path / 'windows'
    made_by('git', 'clone', '-q', ROOT, plain)
    made_by('git', 'clone', '-q', '-c', 'core.symlinks=false', ROOT, windows)
    files = contents(wheel_of_sdist(plain))
    assert f'ghostdet/.mim/configs/{CONFIG}.py' in files
    assert contents(wheel_of_sdist(windows)) == files
    made_by(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', tmp_path, plain)
    direct, = tmp_path.glob('*.whl')
    assert contents(direct) == files


@pytest.mark.nightly
@pytest.mark.network
def test_make_dist_needs_only_python_and_a_registry(tmp_path):
    copy_of_project(tmp_path)
    shutil.copy(ROOT / 'Makefile', tmp_path)
    printed = made_by('make', '-C', tmp_path, 'dist', f'PYTHON={sys.executable}')
    assert f'dist/ghostdet-{__version__}-py3-none-any.whl' in printed
    assert not (tmp_path / '.venv').exists()


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
                ['test', checkpoint, *data, '--cfg-options', *SHORT],
                ['export', checkpoint, '--format', 'openvino', '--out', 'detector.xml', '--shape', '64', '64',
                 '--images', str(shapes / 'val2017'), '--cfg-options', 'model.test_cfg.score_thr=0']]
    run(sys.executable, '-c', COMMANDS, installed, input=json.dumps(commands))
    assert 'boxes' in run('ghostdet', 'predict', 'detector.xml', shapes / 'val2017', '--out', 'found', '--threshold',
                          '0')
    assert (folder / 'found/detections.json').is_file()
    assert (folder / f'work_dirs/{CONFIG}/test_{shapes.name}/coco.json').is_file()
