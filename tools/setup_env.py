"""Make `.venv` once: the pinned packages and this project. Nothing is compiled.

Run by `make` as `python3 -I tools/setup_env.py`, before anything is installed: it needs the standard library alone. Where
`.venv` is complete it returns at once; where it is not, it makes a new one.
"""
from __future__ import annotations  # so that an unsupported, older Python can read this file and say so

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
OLD = ROOT / '.venv.old'  # the one before, until the new one works
STAMP = VENV / 'ghostdet.json'  # written last: an interrupted set-up leaves none
TOOLS = ('pip', 'setuptools', 'uv', 'wheel')  # may change without a new `.venv`
# mmcv asks for this twin of opencv-python-headless, which shares its files and needs libraries of a desktop.
OVERRIDES = "opencv-python ; sys_platform == 'never'"
# Both run inside `.venv`.
VERSIONS = 'import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))'
OPERATORS = 'import ghostdet, mmcv.ops; from ghostdet import ops; print(ops.origin())'


class SetupError(Exception):
    """Something on this machine has to be changed by its user; the message says what and how."""


def main() -> int:
    """Make or check the environment; 0 when it is ready, 1 with a message when it cannot be made."""
    try:
        ensure()
    except (SetupError, OSError) as error:
        print(f'\nset-up: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nset-up: interrupted; run the same command again', file=sys.stderr)
        return 130
    return 0


def ensure() -> None:
    """Return with a complete `.venv`, or raise SetupError."""
    check_python()
    if not fault():
        return
    if not os.access(ROOT, os.W_OK):
        raise SetupError(f'{ROOT} cannot be written with your rights, and .venv has to be made there')
    lock = os.open(ROOT, os.O_RDONLY)  # a killed set-up may leave its installer running, which inherits the lock
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say('another set-up, or the installer of one that was killed, is still at work here: waiting for it')
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        found = fault()
        if found:
            say(found)
            replace()
    finally:
        os.close(lock)


def replace() -> None:
    """Make a new `.venv`; where that fails the old one stays."""
    if VENV.exists():
        shutil.rmtree(OLD, ignore_errors=True)
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
    """Make `.venv` from nothing."""
    started = time.time()
    run([sys.executable, '-m', 'venv', '--clear', VENV], 'On Debian or Ubuntu: apt-get install python3-venv.')
    say('installing the packages: about 3 GB to download, 7 GB on disk')
    advice = ('The first set-up needs the network: check the connection. Behind a proxy set HTTPS_PROXY; for a mirror set '
              'UV_DEFAULT_INDEX, or pip\'s index-url, which is used too; for certificates of your own SSL_CERT_FILE. On a full '
              'disk make room: 7 GB, and as much again where uv\'s cache is on another disk.')
    uv = 'uv'
    if not works([uv, '--version']):
        run([PYTHON, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', 'uv'], advice)
        uv = str(VENV / 'bin' / 'uv')
    quiet = [] if sys.stderr.isatty() else ['-q']  # without a terminal there is no progress to see, only a list of packages
    run([uv, 'pip', 'install', *quiet, '--python', PYTHON, '-c', 'constraints.txt', '--overrides', '-', '-e', '.[train,test]'],
        advice, OVERRIDES)
    operators = subprocess.run([PYTHON, '-c', OPERATORS], cwd=ROOT, capture_output=True, text=True)
    if operators.returncode:
        raise SetupError(f'the packages are installed but do not load (exit code {operators.returncode}). Make room in memory if '
                         f'that is -9; else see the last lines of the error:\n{operators.stderr[-1500:]}')
    STAMP.write_text(json.dumps(dict(made_for=fingerprint(), versions=versions())))
    say(f'ready after {time.time() - started:.0f} s; nms and other operators come from {operators.stdout.splitlines()[-1]}')


def check_python() -> None:
    """Refuse a Python that the packages do not support."""
    low, high = SUPPORTED
    if not low <= sys.version_info[:2] <= high:
        raise SetupError(
            f'Python {platform.python_version()} is not supported: torch, mmcv and mmdet work together on Python '
            f'{low[0]}.{low[1]} to {high[0]}.{high[1]}. Install one of these and name it: make PYTHON=python3.11 ...')


def fault() -> str:
    """Why `.venv` cannot be used as it is; nothing where it can."""
    if not VENV.exists():
        return 'creating .venv'
    try:
        stamp = json.loads(STAMP.read_text())
        before, now = stamp['versions'], versions()
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError):
        return '.venv is incomplete: replacing it'
    if stamp['made_for'] != fingerprint():
        return '.venv was made for other versions or another folder: replacing it'
    changed = [name for name in before if name not in TOOLS and now.get(name) != before[name]]
    changed += [name for name in now if name == 'opencv-python']
    return f'.venv was changed by hand ({", ".join(changed)}): replacing it' if changed else ''


def fingerprint() -> dict[str, str]:
    """What `.venv` depends on; another value means another environment."""
    sources = b''.join((ROOT / name).read_bytes() for name in ('constraints.txt', 'setup.py'))
    return dict(sources=hashlib.sha256(sources).hexdigest(), python=platform.python_version(), root=str(ROOT))


def versions() -> dict[str, str]:
    """Distribution -> version of what `.venv` holds."""
    found = subprocess.run([PYTHON, '-I', '-c', VERSIONS], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def works(command: list) -> bool:
    """Whether a program is there and runs."""
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def run(command: list, advice: str, text: str = '') -> None:
    """Run `command` in the project's root on the input `text`; its progress and its errors go to the terminal.

    Raises:
        SetupError: it failed.
    """
    words = [str(part) for part in command]
    if subprocess.run(words, cwd=ROOT, env=environment(), close_fds=False, input=text, text=True).returncode:
        raise SetupError(f'this command failed; its own message is above: {" ".join(words)}\n{advice} Then run the same command '
                         'again.')


def environment() -> dict[str, str]:
    """Variables for `run`: what pip is told of index and certificates, for uv, too; nothing that installs elsewhere."""
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
    """Print at once, also into a pipe."""
    print(f'set-up: {message}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
