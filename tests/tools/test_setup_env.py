"""Set-up on machines that lack something."""
import json
import sys

import pytest

from ghostdet import setup_env
from ghostdet.setup_env import SetupError


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Set-up in an empty folder, with its own cache, that stops before it installs anything."""
    monkeypatch.setattr(setup_env, 'VENV', tmp_path / '.venv')
    monkeypatch.setattr(setup_env, 'PYTHON', tmp_path / '.venv/bin/python')
    monkeypatch.setattr(setup_env, 'STAMP', tmp_path / '.venv/ghostdet.json')
    monkeypatch.setattr(setup_env, 'LOG', tmp_path / 'setup.log')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path


def test_unsupported_python_names_the_supported_ones(monkeypatch, capsys):
    monkeypatch.setattr(setup_env.sys, 'version_info', (3, 9, 1))
    assert setup_env.main() == 1
    assert '3.11 to 3.12' in capsys.readouterr().err


def test_no_compiler_names_what_to_install(elsewhere, monkeypatch, capsys):
    monkeypatch.setenv('PATH', str(elsewhere))
    assert setup_env.main() == 1
    assert 'apt-get install g++' in capsys.readouterr().err
    assert not (elsewhere / '.venv').exists()


def test_no_network_is_told_from_other_failures(elsewhere, capsys):
    command = [sys.executable, '-m', 'pip', 'download', '--retries', '0', '--no-deps', '-d', str(elsewhere), '--index-url',
               'http://127.0.0.1:9/simple', 'a-package-that-nobody-has']
    with pytest.raises(SetupError, match='could not be reached'):
        setup_env.run(command, 'pip download')
    with pytest.raises(SetupError, match='broke down'):
        setup_env.run([sys.executable, '-c', 'raise SystemExit("broke down")'], 'a step')


def test_half_made_environment_is_not_trusted(elsewhere, monkeypatch):
    want = setup_env.fingerprint()
    assert not setup_env.is_whole(want)
    (elsewhere / '.venv/bin').mkdir(parents=True)
    setup_env.STAMP.write_text(json.dumps(want))  # a stamp, but no Python
    assert not setup_env.is_whole(want)
    setup_env.PYTHON.symlink_to(sys.executable)
    monkeypatch.setattr(setup_env, 'PROBE', 'print(\'{"ops": false, "versions": {}}\')')  # Python, but no mmcv
    assert not setup_env.is_whole(want)
    started = []
    monkeypatch.setattr(setup_env, 'check_compiler', lambda: None)
    monkeypatch.setattr(setup_env, 'run', lambda command, *args, **kwargs: started.append(command) or sys.exit('stop here'))
    with pytest.raises(SystemExit):
        setup_env.ensure()
    assert '--clear' in started[0]


def test_this_environment_is_whole():
    """Asked, not made: a call of `ensure` would take away the ground on which the tests stand."""
    if not setup_env.STAMP.exists():
        pytest.skip('these tests run in an environment that make did not make')
    assert setup_env.is_whole(setup_env.fingerprint())


def test_wheel_that_does_not_load_is_removed(tmp_path, monkeypatch):
    wheel = tmp_path / 'onedl_mmcv-0.whl'
    wheel.touch()
    (tmp_path / 'python').write_text('#!/bin/sh\necho undefined symbol >&2\nexit 1\n')
    (tmp_path / 'python').chmod(0o755)
    monkeypatch.setattr(setup_env, 'PYTHON', tmp_path / 'python')
    with pytest.raises(SetupError, match='undefined symbol'):
        setup_env.check_operators(wheel)
    assert not wheel.exists()


def test_joined_sources_include_every_file_once(tmp_path):
    for name in 'abcde':
        (tmp_path / f'{name}.cpp').write_text(f'int {name};\n')
    setup_env.join_sources(tmp_path, parts=2)
    joined = ''.join((tmp_path / f'part{part}.cpp').read_text() for part in range(2))
    assert sorted(joined.splitlines()) == [f'#include "joined/{name}.cpp"' for name in 'abcde']
    assert len(list(tmp_path.glob('*.cpp'))) == 2
    assert len(list((tmp_path / 'joined').glob('*.cpp'))) == 5


def test_pins_are_versions_of_what_setup_py_names():
    pins = setup_env.pins()
    for name in ('torch', 'torchvision', 'onedl-mmcv', 'onedl-mmengine', 'onedl-mmdetection', 'pytest'):
        assert pins[name][0].isdigit()


@pytest.mark.parametrize(('release', 'expected'), [('13.0', 'cuda13.0'), (None, 'cpu')])
def test_operators_are_for_cuda_where_gpu_and_nvcc_are(tmp_path, monkeypatch, release, expected):
    nvcc = dict(nvcc=f'echo Cuda compilation tools, release {release}, V{release}.1') if release else {}
    programs = dict(nvidia_smi='exit 0') | nvcc
    for name, script in programs.items():
        file = tmp_path / name.replace('_', '-')
        file.write_text(f'#!/bin/sh\n{script}\n')
        file.chmod(0o755)
    monkeypatch.setenv('CUDA_HOME', str(tmp_path / 'nowhere'))
    monkeypatch.setenv('PATH', str(tmp_path), prepend=None)
    if release:
        monkeypatch.delenv('CUDA_HOME')
    assert setup_env.target() == expected
    (tmp_path / 'nvidia-smi').write_text('#!/bin/sh\nexit 9\n')  # a driver without a GPU
    assert setup_env.target() == 'cpu'
