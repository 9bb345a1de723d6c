"""Set-up on machines where something is missing or broken."""
import fcntl
import importlib.util
import json
import os
import re
import sys
import threading
import time

import pytest

from tests.conftest import ROOT


@pytest.fixture
def setup_env():
    """The program as a module."""
    spec = importlib.util.spec_from_file_location('setup_env', ROOT / 'tools/setup_env.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def elsewhere(tmp_path, monkeypatch, setup_env):
    """An empty folder to set up in, for a project without packages."""
    (tmp_path / 'constraints.txt').touch()
    (tmp_path / 'setup.py').touch()
    paths = dict(ROOT='.', VENV='.venv', OLD='.venv.old', PYTHON='.venv/bin/python', STAMP='.venv/ghostdet.json')
    for name, path in paths.items():
        monkeypatch.setattr(setup_env, name, tmp_path / path)
    for name in ('UV_DEFAULT_INDEX', 'UV_INDEX_URL', 'PIP_INDEX_URL', 'SSL_CERT_FILE', 'PIP_CERT'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def program(folder, name, script):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f'#!/bin/sh\n{script}\n')
    (folder / name).chmod(0o755)


@pytest.mark.parametrize('version', [(3, 9, 1), (3, 14, 0)])
def test_unsupported_python_names_the_supported_ones(setup_env, monkeypatch, capsys, version):
    monkeypatch.setattr(setup_env.sys, 'version_info', version)
    assert setup_env.main() == 1
    assert '3.11 to 3.13' in capsys.readouterr().err


def test_supported_pythons_are_among_those_of_the_package(setup_env):
    low, high = setup_env.SUPPORTED
    lowest, above = re.search(r'requires-python = ">=3.(\d+),<3.(\d+)"', (ROOT / 'pyproject.toml').read_text()).groups()
    assert low[1] >= int(lowest)
    assert high[1] + 1 == int(above)


def test_the_program_needs_the_standard_library_alone():
    imports = set(re.findall(r'^(?:import|from) (\w+)', (ROOT / 'tools/setup_env.py').read_text(), re.MULTILINE))
    assert imports <= sys.stdlib_module_names


def test_a_folder_without_rights_is_named(setup_env, elsewhere, monkeypatch, capfd):
    monkeypatch.setattr(setup_env.os, 'access', lambda folder, mode: False)  # root may write everywhere
    assert setup_env.main() == 1
    assert f'{elsewhere} is not writable' in capfd.readouterr().err


def test_a_python_without_venv_names_the_package(setup_env, elsewhere, monkeypatch, capfd):
    program(elsewhere / 'bin', 'python', 'echo ensurepip is not available >&2; exit 1')
    monkeypatch.setattr(setup_env.sys, 'executable', str(elsewhere / 'bin/python'))
    assert setup_env.main() == 1
    assert 'apt-get install python3-venv' in capfd.readouterr().err


def test_what_was_there_stays_where_no_new_environment_can_be_made(setup_env, elsewhere, monkeypatch):
    (elsewhere / '.venv').mkdir()
    (elsewhere / '.venv/mine').touch()

    def interrupted():
        (elsewhere / '.venv').mkdir()
        raise KeyboardInterrupt
    monkeypatch.setattr(setup_env, 'make', interrupted)
    assert setup_env.main() == 130
    assert (elsewhere / '.venv/mine').exists()
    assert not (elsewhere / '.venv.old').exists()
    (elsewhere / '.venv').rename(elsewhere / '.venv.old')  # as a kill leaves it
    (elsewhere / '.venv').mkdir()
    assert setup_env.main() == 130
    assert (elsewhere / '.venv/mine').exists()
    monkeypatch.setattr(setup_env, 'make', lambda: (elsewhere / '.venv').mkdir())
    assert setup_env.main() == 0
    assert not (elsewhere / '.venv/mine').exists()
    assert not (elsewhere / '.venv.old').exists()


def test_an_environment_that_was_interrupted_or_changed_is_replaced(setup_env, elsewhere, monkeypatch):
    assert setup_env.fault() == 'creating .venv'
    (elsewhere / '.venv/bin').mkdir(parents=True)
    assert 'incomplete' in setup_env.fault()
    stamp = dict(made_for=setup_env.fingerprint(), versions=dict(torch='2.13.0', pip='23'))
    setup_env.STAMP.write_text(json.dumps(stamp))  # a stamp, but no Python
    assert 'incomplete' in setup_env.fault()
    for versions, changed in (('{"torch": "2.13.0", "pip": "24", "extra": "1"}', ''),
                              ('{"torch": "2.14.1"}', 'by hand (torch)'), ('{}', 'by hand (torch)'),
                              ('{"torch": "2.13.0", "opencv-python": "4"}', 'by hand (opencv-python)')):
        program(elsewhere / '.venv/bin', 'python', f"echo '{versions}'")
        assert changed in setup_env.fault()
        assert bool(setup_env.fault()) is bool(changed)
    program(elsewhere / '.venv/bin', 'python', 'echo \'{"torch": "2.13.0"}\'')
    (elsewhere / 'constraints.txt').write_text('torch==2.14.1')
    assert 'another Python, folder, constraints.txt' in setup_env.fault()


def test_a_second_set_up_waits_for_the_first(setup_env, elsewhere, monkeypatch, capfd):
    first = os.open(elsewhere, os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    made = []
    monkeypatch.setattr(setup_env, 'make', lambda: made.append(True))
    waiting = threading.Thread(target=setup_env.ensure)
    waiting.start()
    time.sleep(0.5)
    assert not made
    os.close(first)
    waiting.join(10)
    assert made
    assert 'waiting for it' in capfd.readouterr().out


@pytest.mark.parametrize(('settings', 'index', 'certificates'), [
    (dict(), 'https://configured/simple', '/own.pem'),
    (dict(PIP_INDEX_URL='https://mirror/simple', PIP_CERT='/other.pem'), 'https://mirror/simple', '/other.pem'),
    (dict(PIP_INDEX_URL='https://mirror/simple', UV_DEFAULT_INDEX='https://of.uv/simple', SSL_CERT_FILE='/of/uv.pem'),
     'https://of.uv/simple', '/of/uv.pem'),
    (dict(PIP_INDEX_URL='https://mirror/simple', UV_INDEX_URL='https://of.uv/simple'), None, '/own.pem')])
def test_uv_takes_index_and_certificates_of_pip(setup_env, elsewhere, monkeypatch, settings, index, certificates):
    monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
    assert not {'UV_DEFAULT_INDEX', 'SSL_CERT_FILE'} & setup_env.environment().keys()
    (elsewhere / 'pip.conf').write_text('[global]\nindex-url = https://configured/simple\n'
                                        'extra-index-url = https://no\ncert = /own.pem\n')
    monkeypatch.setenv('PIP_CONFIG_FILE', str(elsewhere / 'pip.conf'))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    result = setup_env.environment()
    assert result.get('UV_DEFAULT_INDEX') == index
    assert result.get('SSL_CERT_FILE') == certificates


def test_this_environment_is_complete_and_pinned(setup_env):
    """Asked, not made: a call of `ensure` would replace what these tests run in."""
    if not setup_env.STAMP.exists() or not os.path.samefile(sys.prefix, setup_env.VENV):
        pytest.skip('these tests run in an environment that make did not make')
    assert setup_env.fault() == ''
    pins = dict(re.findall(r'^(\S+)==(\S+)$', (ROOT / 'constraints.txt').read_text(), re.MULTILINE))
    installed = {re.sub('[-_.]+', '-', name).lower(): version for name, version in setup_env.versions().items()}
    others = {name: version for name, version in installed.items() if pins.get(name) != version}
    assert set(others) <= {'ghostdet', 'pip', 'uv'}
    assert 'opencv-python' not in installed


@pytest.mark.nightly
def test_no_network_says_what_to_do(setup_env, elsewhere, monkeypatch, capfd):
    monkeypatch.setenv('UV_DEFAULT_INDEX', 'http://127.0.0.1:9/simple')
    monkeypatch.setenv('PIP_INDEX_URL', 'http://127.0.0.1:9/simple')
    monkeypatch.setenv('PIP_RETRIES', '0')
    monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
    monkeypatch.delenv('PIP_FIND_LINKS', raising=False)
    program(elsewhere / 'bin', 'uv', 'exit 127')  # as a shim of pyenv without a uv behind it: pip is asked for one
    monkeypatch.setenv('PATH', f'{elsewhere / "bin"}:{os.environ["PATH"]}')
    monkeypatch.setenv('PIP_TARGET', str(elsewhere / 'nowhere'))
    assert setup_env.main() == 1
    message = capfd.readouterr().err
    assert 'No matching distribution found for uv' in message  # pip's own message
    assert 'HTTPS_PROXY' in message
    assert 'run make again' in message
    assert not setup_env.STAMP.exists()


@pytest.mark.nightly
def test_packages_that_do_not_load_leave_no_stamp(setup_env, elsewhere, monkeypatch, capfd):
    program(elsewhere / 'bin', 'uv', f'''
        echo "uv $*" >> {elsewhere}/calls
        [ "$1" = --version ] && exit 0
        cat >> {elsewhere}/calls
        mkdir -p {elsewhere}/.venv/bin; rm -f {elsewhere}/.venv/bin/python
        printf '#!/bin/sh\\necho undefined symbol >&2\\nexit 1\\n' > {elsewhere}/.venv/bin/python
        chmod +x {elsewhere}/.venv/bin/python''')
    monkeypatch.setenv('PATH', f'{elsewhere / "bin"}:{os.environ["PATH"]}')
    assert setup_env.main() == 1
    assert 'undefined symbol' in capfd.readouterr().err
    calls = (elsewhere / 'calls').read_text()
    assert '-c constraints.txt --overrides - -e .[train,test]' in calls
    assert 'opencv-python ;' in calls
    assert not setup_env.STAMP.exists()
