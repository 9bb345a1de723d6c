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
STAMP = VENV / 'ghostdet.json'  # written last: an interrupted set-up leaves none
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
    if is_complete():
        return
    lock = os.open(ROOT, os.O_RDONLY)  # a killed set-up may leave its installer running, which inherits the lock
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say('another set-up, or the installer of one that was killed, is still at work here: waiting for it')
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        if not is_complete():
            make()
    finally:
        os.close(lock)


def make() -> None:
    """Make `.venv` from nothing."""
    started = time.time()
    say(f'{".venv is incomplete or out of date: replacing it" if VENV.exists() else "creating .venv"}')
    run([sys.executable, '-m', 'venv', '--clear', VENV], 'On Debian or Ubuntu: apt-get install python3-venv.')
    say('installing the packages: about 3 GB to download, 7 GB on disk')
    advice = ('The first set-up needs the network: check the connection. Behind a proxy set HTTPS_PROXY; for a mirror set '
              'UV_DEFAULT_INDEX, or pip\'s index-url, which is used too. On a full disk make room: 7 GB, and as much again where '
              'uv\'s cache is on another disk.')
    uv = shutil.which('uv')
    if uv is None:
        run([PYTHON, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', 'uv'], advice)
        uv = str(VENV / 'bin' / 'uv')
    quiet = [] if sys.stderr.isatty() else ['-q']  # without a terminal there is no progress to see, only a list of packages
    run([uv, 'pip', 'install', *quiet, '--python', PYTHON, '-c', 'constraints.txt', '-e', '.[train,test]'], advice)
    operators = subprocess.run([PYTHON, '-c', OPERATORS], cwd=ROOT, capture_output=True, text=True)
    if operators.returncode:
        raise SetupError(f'the packages are installed but do not load; the last lines of the error:\n{operators.stderr[-1500:]}')
    STAMP.write_text(json.dumps(dict(made_for=fingerprint(), versions=versions())))
    say(f'ready after {time.time() - started:.0f} s; nms and other operators come from {operators.stdout.splitlines()[-1]}')


def check_python() -> None:
    """Refuse a Python that the packages do not support."""
    low, high = SUPPORTED
    if not low <= sys.version_info[:2] <= high:
        raise SetupError(
            f'Python {platform.python_version()} is not supported: torch, mmcv and mmdet work together on Python '
            f'{low[0]}.{low[1]} to {high[0]}.{high[1]}. Install one of these and name it: make PYTHON=python3.11 ...')


def is_complete() -> bool:
    """Whether `.venv` was finished for this checkout and still holds every package at the version that was installed."""
    try:
        stamp = json.loads(STAMP.read_text())
        return stamp['made_for'] == fingerprint() and stamp['versions'].items() <= versions().items()
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError):
        return False


def fingerprint() -> dict[str, str]:
    """What `.venv` depends on; another value means another environment."""
    sources = b''.join((ROOT / name).read_bytes() for name in ('constraints.txt', 'setup.py'))
    return dict(sources=hashlib.sha256(sources).hexdigest(), python=platform.python_version(), root=str(ROOT))


def versions() -> dict[str, str]:
    """Distribution -> version of what `.venv` holds."""
    found = subprocess.run([PYTHON, '-I', '-c', VERSIONS], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def run(command: list, advice: str) -> None:
    """Run `command` in the project's root; its progress and its errors go to the terminal.

    Raises:
        SetupError: it failed.
    """
    if subprocess.run([str(part) for part in command], cwd=ROOT, env=environment(), close_fds=False).returncode:
        raise SetupError(f'this command failed; its own message is above: {" ".join(map(str, command))}\n{advice} Then run the '
                         'same command again.')


def environment() -> dict[str, str]:
    """Variables for `run`: pip's package index, too, since uv does not read pip's settings."""
    if 'UV_DEFAULT_INDEX' in os.environ:
        return dict(os.environ)
    settings = subprocess.run([sys.executable, '-m', 'pip', 'config', 'list'], capture_output=True, text=True).stdout
    index = re.search(r"\.index-url='(.+)'", settings)  # of the environment's, which counts, first
    return dict(os.environ, UV_DEFAULT_INDEX=index[1]) if index else dict(os.environ)


def say(message: str) -> None:
    """Print at once, also into a pipe."""
    print(f'set-up: {message}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
