"""Make `.venv` once: pinned packages, and mmcv's operators compiled for this machine.

Run by `make` as `python3 -I ghostdet/setup_env.py`, not as a part of the package, because it runs before anything is
installed: it needs the standard library alone. Where `.venv` is whole it returns at once; where it is half made it is made anew.
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
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

SUPPORTED = ((3, 11), (3, 12))
BUILD_TOOLS = ('setuptools<81', 'wheel', 'ninja', 'psutil', 'packaging')  # setuptools 81 drops what mmcv's setup imports
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
STAMP = VENV / 'ghostdet.json'  # written last, so its absence tells a half-made environment
LOG = ROOT / 'setup.log'

# Runs inside `.venv`: the installed versions, and whether mmcv's compiled operators are there.
PROBE = '''
import importlib.metadata as m, importlib.util as u, json, pathlib
spec = u.find_spec("mmcv")
ops = bool(spec and list(pathlib.Path(spec.origin).parent.glob("_ext*")))
print(json.dumps({"ops": ops, "versions": {d.metadata["Name"].lower(): d.version for d in m.distributions()}}))
'''
# Runs inside `.venv`, where torch is.
CUDA_PROBE = 'import json, torch; print(json.dumps([torch.cuda.is_available(), torch.version.cuda]))'


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
        print('\nset-up: interrupted; run the same command again, it starts over cleanly', file=sys.stderr)
        return 130
    return 0


def ensure() -> None:
    """Return with a whole `.venv`, or raise SetupError."""
    check_python()
    want = fingerprint()
    if is_whole(want):
        return
    if VENV.exists():
        say('.venv is incomplete or out of date: making it anew')
    check_venv_module()
    with LOG.open('a') as lock:  # a killed set-up may leave its pip running, which inherits the lock
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('another set-up, or the pip of one that was killed, is still at work here: waiting for it')
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_whole(want):
            make(want)


def make(want: dict[str, str]) -> None:
    """Make `.venv` from nothing."""
    wheels = wheel_folder()
    if not list(wheels.glob('onedl_mmcv-*.whl')):
        check_compiler()
    started = time.time()
    LOG.write_text('')
    say('1/4 creating .venv')
    run([sys.executable, '-m', 'venv', '--clear', str(VENV)], 'creating .venv')
    say('2/4 installing torch and the build tools (about 5 GB on disk; one to three minutes on a fast connection)')
    pip('install', '-q', '-c', 'constraints.txt', 'torch', 'torchvision', *BUILD_TOOLS)
    wheel = mmcv_wheel(wheels)
    say('4/4 installing the detection stack and this project')
    pip('install', '-q', str(wheel), '-c', 'constraints.txt')
    pip('install', '-q', '--no-build-isolation', '-c', 'constraints.txt', '-e', '.[train,test]')
    check_operators(wheel)
    STAMP.write_text(json.dumps(want))
    if not is_whole(want):
        STAMP.unlink()
        raise SetupError(f'the installed packages are not the pinned ones; {LOG.name} has what pip did')
    say(f'ready after {duration(time.time() - started)}')


# ------------------------------------------------------------------------------------------------ what the machine has

def check_python() -> None:
    """Refuse a Python that the stack has no build for."""
    low, high = SUPPORTED
    if not low <= sys.version_info[:2] <= high:
        raise SetupError(
            f'Python {platform.python_version()} is not supported: torch, mmcv and mmdet work together on Python '
            f'{low[0]}.{low[1]} to {high[0]}.{high[1]}. Install one of these and name it: make PYTHON=python3.11 ...')


def check_venv_module() -> None:
    """Debian and Ubuntu ship Python without `ensurepip`, so that `venv` fails half-way."""
    probe = subprocess.run([sys.executable, '-c', 'import venv, ensurepip'], capture_output=True)
    if probe.returncode:
        raise SetupError('this Python cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv')


def check_compiler() -> None:
    """The operators of mmcv are C++: a compiler and Python's headers must be there."""
    compiler = os.environ.get('CXX', '').split()[:1] or ['c++', 'g++', 'clang++']
    if not any(shutil.which(name) for name in compiler):
        raise SetupError(
            f'no C++ compiler found (looked for {", ".join(compiler)}), and mmcv has to be compiled once. On Debian or '
            'Ubuntu: apt-get install g++ python3-dev; on Fedora: dnf install gcc-c++ python3-devel; on macOS: '
            'xcode-select --install')
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.exists():
        raise SetupError(f'{header} is missing, and mmcv has to be compiled once; on Debian or Ubuntu: apt-get install '
                         'python3-dev')


def fingerprint() -> dict[str, str]:
    """What `.venv` depends on; another value means another environment."""
    sources = b''.join((ROOT / name).read_bytes() for name in ('constraints.txt', 'setup.py'))
    return dict(sources=hashlib.sha256(sources).hexdigest(), python=platform.python_version(), root=str(ROOT), target=target())


def is_whole(want: dict[str, str]) -> bool:
    """Whether `.venv` was finished for `want` and still holds the pinned versions and mmcv's operators."""
    try:
        if json.loads(STAMP.read_text()) != want:
            return False
        found = json.loads(subprocess.run([PYTHON, '-c', PROBE], capture_output=True, text=True, check=True).stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return False
    versions = {name: version.split('+')[0] for name, version in found['versions'].items()}
    return found['ops'] and 'ghostdet' in versions and all(versions.get(name) == version for name, version in pins().items())


def pins() -> dict[str, str]:
    """Distribution name -> pinned version, from `constraints.txt`."""
    lines = (ROOT / 'constraints.txt').read_text().splitlines()
    return dict(re.split('={2,3}', line.strip().lower()) for line in lines if '==' in line and not line.startswith('#'))


# ------------------------------------------------------------------------------------------------------ mmcv's operators

def wheel_folder() -> Path:
    """Where this machine keeps the compiled wheel: one folder for each torch, Python and processor."""
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    versions = pins()
    key = f'mmcv{versions["onedl-mmcv"]}-torch{versions["torch"]}-cp{sys.version_info[0]}{sys.version_info[1]}-{target()}'
    return cache / 'ghostdet' / 'wheels' / f'{key}-{platform.machine()}'


def mmcv_wheel(folder: Path) -> Path:
    """The compiled wheel in `folder`, compiling it first where there is none."""
    found = [wheel for wheel in sorted(folder.glob('onedl_mmcv-*.whl')) if zipfile.is_zipfile(wheel)]
    if found:
        say(f'3/4 mmcv was compiled here before: using {found[0]}')
        return found[0]
    folder.mkdir(parents=True, exist_ok=True)  # first, so that a folder that cannot be made costs no compilation
    jobs = int(os.environ.get('MAX_JOBS') or os.cpu_count() or 1)
    env = dict(os.environ, MAX_JOBS=str(jobs), CFLAGS='-g0 -O2 -w', **cuda_settings())
    say(f'3/4 compiling mmcv\'s operators on {jobs} cores, once for this machine (a few minutes on two cores)')
    with tempfile.TemporaryDirectory() as scratch:
        source = unpack_mmcv(Path(scratch))
        join_sources(source / 'mmcv' / 'ops' / 'csrc' / 'pytorch', parts=2)
        command = [PYTHON, '-m', 'pip', 'wheel', '-v', '--no-deps', '--no-build-isolation', '-w', scratch, str(source)]
        started = time.time()
        run(command, 'compiling mmcv', env=env, progress=True)
        say(f'    compiled in {duration(time.time() - started)}')
        built = next(Path(scratch).glob('onedl_mmcv-*.whl'))
        # A rename is atomic only within a file system, and a copy that is cut off must not look like a wheel.
        shutil.copy(built, folder / 'partial')
        return (folder / 'partial').rename(folder / built.name)


def check_operators(wheel: Path) -> None:
    """Load the operators once: a wheel from another machine's cache may not fit this one."""
    probe = subprocess.run([PYTHON, '-c', 'import mmcv.ops'], capture_output=True, text=True)
    if probe.returncode:
        wheel.unlink()
        raise SetupError(f'the compiled mmcv does not load here, so {wheel} was removed: run the same command again to compile '
                         f'it anew. It said:\n{probe.stderr[-600:]}')


def unpack_mmcv(scratch: Path) -> Path:
    """Download mmcv's source distribution and unpack it into `scratch`."""
    pip('download', '-q', '--no-deps', '--no-build-isolation', '--no-binary', 'onedl-mmcv', '-c', 'constraints.txt', '-d',
        str(scratch), 'onedl-mmcv')
    archive = next(scratch.glob('onedl_mmcv-*.tar.gz'))
    with tarfile.open(archive) as tar:
        tar.extractall(scratch)
    return scratch / archive.name[:-len('.tar.gz')]


def join_sources(folder: Path, parts: int) -> None:
    """Compile the operators' 58 dispatch files as `parts` files that include them.

    Nearly all of their compile time goes into reading torch's headers, which each of them does again. The kernels
    in the folders below define clashing helpers and stay as they are.
    """
    files = sorted(folder.glob('*.cpp'))
    inner = folder / 'joined'
    inner.mkdir()
    for file in files:
        file.rename(inner / file.name)
    for part in range(parts):
        includes = [f'#include "joined/{file.name}"\n' for file in files[part::parts]]
        (folder / f'part{part}.cpp').write_text(''.join(includes))


def target() -> str:
    """'cuda13.0' where there is an NVIDIA GPU and the nvcc of CUDA 13.0, 'cpu' elsewhere."""
    if subprocess.run('nvidia-smi', shell=True, capture_output=True).returncode:
        return 'cpu'
    home = os.environ.get('CUDA_HOME')
    nvcc = shutil.which('nvcc', path=f'{home}/bin') if home else shutil.which('nvcc') or shutil.which('/usr/local/cuda/bin/nvcc')
    version = subprocess.run([nvcc, '--version'], capture_output=True, text=True).stdout if nvcc else ''
    release = re.search(r'release (\d+\.\d+)', version)
    return f'cuda{release[1]}' if release else 'cpu'


def cuda_settings() -> dict[str, str]:
    """Environment that makes mmcv build for CUDA where GPU, nvcc and torch fit together, for the CPU elsewhere."""
    probe = subprocess.run([PYTHON, '-c', CUDA_PROBE], capture_output=True, text=True, check=True)
    has_gpu, cuda = json.loads(probe.stdout.splitlines()[-1])
    if has_gpu and target().split('.')[0] == f'cuda{cuda.split(".")[0]}':
        say(f'an NVIDIA GPU and its compiler ({target()}) are here: building for CUDA too, which takes longer')
        return dict(FORCE_CUDA='1')
    if has_gpu or target() != 'cpu':
        say(f'an NVIDIA GPU is here, but torch does not see it or its nvcc is not that of CUDA {cuda} (found: {target()}): '
            'building mmcv for the CPU alone, and the tools will say so')
    return dict(CUDA_VISIBLE_DEVICES='')


# ------------------------------------------------------------------------------------------------------ running programs

def pip(*arguments: str) -> None:
    """Run pip of `.venv`."""
    run([PYTHON, '-m', 'pip', '--disable-pip-version-check', *arguments], f'pip {arguments[0]}')


def run(command: list, what: str, env: dict[str, str] | None = None, progress: bool = False) -> None:
    """Run `command` in the project's root, its output in the log; raise SetupError with a cure when it fails."""
    started = time.time()
    lines: list[str] = []
    with subprocess.Popen([str(part) for part in command], cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, close_fds=False) as process, LOG.open('a') as log:
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            lines.append(line)
            step = re.match(r'\s*\[(\d+)/(\d+)\]', line) if progress else None
            if step:
                done, total = int(step[1]), int(step[2])
                left = (time.time() - started) / done * (total - done)
                say(f'    {done}/{total} files compiled, about {duration(left)} left')
    if process.returncode:
        raise SetupError(explain(what, ''.join(lines)))


def explain(what: str, output: str) -> str:
    """The cure for a failed step, from what it printed."""
    if re.search('name resolution|NewConnectionError|ConnectTimeout|Network is unreachable|Max retries|ProxyError'
                 '|No matching distribution|Could not find a version', output):
        return (f'{what} failed: the package registry could not be reached, or does not have a pinned version. The first '
                'set-up needs the network (about 3 GB); check the connection or pip\'s index and proxy settings, then run '
                f'the same command again. Details: {LOG}')
    if 'No space left' in output:
        return f'{what} failed: the disk is full. The environment needs about 7 GB in {ROOT} and 2 GB in {tempfile.gettempdir()}'
    if 'Killed signal' in output or 'cannot allocate memory' in output.lower():
        return f'{what} failed: not enough memory. Try again with fewer compilers at a time: MAX_JOBS=1 make ...'
    return f'{what} failed; the last lines of {LOG} were:\n{output[-1500:]}'


def duration(seconds: float) -> str:
    """Seconds as 'M min S s'."""
    return f'{int(seconds) // 60} min {int(seconds) % 60} s'


def say(message: str) -> None:
    """Print at once, also into a pipe."""
    print(f'set-up: {message}' if not message.startswith(' ') else message, flush=True)


if __name__ == '__main__':
    sys.exit(main())
