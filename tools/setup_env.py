"""Create `.venv` with the pinned packages and this project. Nothing is compiled.

`make` runs it as `python3 -I tools/setup_env.py` before anything is installed, so it needs only the standard library.
If `.venv` is complete, it returns at once. If not, it makes a new one.
"""
from __future__ import annotations  # an older, unsupported Python can then read this file and report the problem

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

SUPPORTED = ((3, 11), (3, 13))
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
OLD = ROOT / '.venv.old'  # the previous `.venv`, kept until the new one works
STAMP = VENV / 'ghostdet.json'  # written last, so an interrupted set-up has none
TOOLS = ('pip', 'setuptools', 'uv', 'wheel')  # may change without a new `.venv`
# mmcv requires opencv-python. It would overwrite files of opencv-python-headless, and it needs desktop libraries.
OVERRIDES = "opencv-python ; sys_platform == 'never'"
# Both run inside `.venv`.
VERSIONS = 'import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))'
OPERATORS = 'import ghostdet, mmcv.ops; from ghostdet import ops; print(ops.origin())'


class SetupError(Exception):
    """The user has to change something on this machine. The message says what and how."""


def main() -> int:
    """Make or check the environment. Return 0 if it is ready, 1 if it cannot be made, 130 after Ctrl-C."""
    try:
        ensure()
    except (SetupError, OSError) as error:
        print(f'\nset-up: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nset-up: interrupted; run make again to continue', file=sys.stderr)
        return 130
    return 0


def ensure() -> None:
    """Return with a complete `.venv`, or raise SetupError."""
    check_python()
    if not fault():
        return
    if not os.access(ROOT, os.W_OK):
        raise SetupError(f'{ROOT} is not writable for you, and .venv must be created there. Change the permissions of '
                         'this folder, or clone the project into a folder of yours')
    lock = os.open(ROOT, os.O_RDONLY)  # the installer inherits the lock: it may outlive a killed set-up
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say('another set-up is still running in this folder (or a killed one left its installer running): waiting for '
            'it')
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        found = fault()
        if found:
            say(found)
            replace()
    finally:
        os.close(lock)


def replace() -> None:
    """Make a new `.venv`. If that fails, put the old one back."""
    if OLD.exists():  # an earlier set-up was killed and left an incomplete `.venv`
        shutil.rmtree(VENV, ignore_errors=True)
    elif VENV.exists():
        VENV.rename(OLD)
    try:
        make()
    except BaseException:
        if OLD.exists():
            shutil.rmtree(VENV, ignore_errors=True)
            OLD.rename(VENV)
        raise
    shutil.rmtree(OLD, ignore_errors=True)


def make() -> None:
    """Make a new `.venv`, install all packages and check that they can be imported."""
    started = time.time()
    run([sys.executable, '-m', 'venv', '--clear', VENV], 'On Debian or Ubuntu: apt-get install python3-venv.')
    say('installing the packages: about 3 GB to download, 7 GB on disk')
    advice = ('Check the network. Behind a proxy, set HTTPS_PROXY. For a mirror, set pip\'s index-url: pip and uv both '
              'use it. For your own certificates, set SSL_CERT_FILE. The disk needs 7 GB free; if uv\'s cache is on '
              'another disk, that one needs 7 GB, too.')
    uv = 'uv'
    if not works([uv, '--version']):
        run([PYTHON, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', 'uv'], advice)
        uv = str(VENV / 'bin' / 'uv')
    # without a terminal uv shows no progress, only a long list of packages
    quiet = [] if sys.stderr.isatty() else ['-q']
    # Compiling takes some 20 s now and saves 10 s at the first start: at every start if Python cannot write bytecode.
    run([uv, 'pip', 'install', *quiet, '--compile-bytecode', '--python', PYTHON, '-c', 'constraints.txt', '--overrides',
         '-', '-e', '.[train,test]'], advice, OVERRIDES)
    operators = subprocess.run([PYTHON, '-c', OPERATORS], cwd=ROOT, capture_output=True, text=True)
    if operators.returncode:
        raise SetupError(f'the packages are installed, but importing them failed (exit code {operators.returncode}). '
                         'Code -9: the machine ran out of memory; free some and run make again. Otherwise the end of '
                         f'the error says why:\n{operators.stderr[-1500:]}')
    STAMP.write_text(json.dumps(dict(made_for=fingerprint(), versions=versions())))
    say(f'ready after {time.time() - started:.0f} s; nms and other operators come from '
        f'{operators.stdout.splitlines()[-1]}')


def check_python() -> None:
    """Check that the packages support this Python."""
    low, high = SUPPORTED
    if not low <= sys.version_info[:2] <= high:
        raise SetupError(
            f'Python {platform.python_version()} is not supported: the versions of constraints.txt are for Python '
            f'{low[0]}.{low[1]} to {high[0]}.{high[1]}. Install one of these and name it: make PYTHON=python3.11 ...')


def fault() -> str:
    """Return the reason to make a new `.venv`, or an empty string if it is good."""
    if not VENV.exists():
        return 'creating .venv'
    try:
        stamp = json.loads(STAMP.read_text())
        before, now = stamp['versions'], versions()
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError):
        return '.venv is incomplete: replacing it'
    if stamp['made_for'] != fingerprint():
        return '.venv was made for another Python, folder, constraints.txt or setup.py: replacing it'
    changed = [name for name in before if name not in TOOLS and now.get(name) != before[name]]
    changed += [name for name in now if name == 'opencv-python']
    return f'.venv was changed by hand ({", ".join(changed)}): replacing it' if changed else ''


def fingerprint() -> dict[str, str]:
    """Return everything that `.venv` depends on. If it changes, `.venv` must be made again."""
    sources = b''.join((ROOT / name).read_bytes() for name in ('constraints.txt', 'setup.py'))
    return dict(sources=hashlib.sha256(sources).hexdigest(), python=platform.python_version(), root=str(ROOT))


def versions() -> dict[str, str]:
    """Return the version of each package in `.venv`."""
    found = subprocess.run([PYTHON, '-I', '-c', VERSIONS], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def works(command: list) -> bool:
    """Return whether a program exists and runs without an error."""
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def run(command: list, advice: str, text: str = '') -> None:
    """Run `command` in the project's root with `text` as its input. Its output goes to the terminal.

    Raises:
        SetupError: the command failed.
    """
    words = [str(part) for part in command]
    if subprocess.run(words, cwd=ROOT, env=environment(), close_fds=False, input=text, text=True).returncode:
        raise SetupError('a command of the set-up failed. Its error message is above. The command '
                         f'was:\n{" ".join(words)}\n{advice} Then run make again.')


def environment() -> dict[str, str]:
    """Return the environment variables for `run`.

    uv gets pip's index and certificates. PIP_REQUIRE_HASHES and variables that send packages to another folder are
    removed.
    """
    elsewhere = ('PIP_PREFIX', 'PIP_REQUIRE_HASHES', 'PIP_TARGET', 'PIP_USER')
    own = {key: value for key, value in os.environ.items() if key not in elsewhere}
    settings = subprocess.run([sys.executable, '-m', 'pip', 'config', 'list'], capture_output=True, text=True).stdout
    found = dict(re.findall(r"^(\S+)='(.+)'$", settings, re.MULTILINE))
    for name, key, others in (('UV_DEFAULT_INDEX', 'index-url', ('UV_INDEX_URL',)), ('SSL_CERT_FILE', 'cert', ())):
        values = [found[f'{part}.{key}'] for part in (':env:', 'install', 'global') if f'{part}.{key}' in found]
        if values and not any(other in own for other in (name, *others)):
            own[name] = values[0]
    return own


def say(message: str) -> None:
    """Print a message immediately, also into a pipe."""
    print(f'set-up: {message}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
