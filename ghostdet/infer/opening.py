"""Open an exported file, and make sure that this machine computes it right: once, then it is remembered."""
import ctypes
import hashlib
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import ghostdet
from ghostdet.errors import UserError
from ghostdet.files import cache_file, write_whole
from ghostdet.infer.seal import UNSEALED, read_seal
from ghostdet.infer.self_check import CannotRunError, SelfCheck, run_check
from ghostdet.infer.sessions import CannotOpenError, Session, check_parts, open_session, parts, runtime_version
from ghostdet.messages import LOGGER

# Variables that limit the instructions of the runtimes, or choose others.
VARIABLES = ('ONEDNN_', 'DNNL_', 'MKL_', 'OV_', 'OPENVINO_', 'ORT_', 'NCNN_', 'ACL_')
INTEGERS, FLOATS = 'integers', 'floats'  # what is remembered: in which arithmetic the file was right
ANYWAY = '--no-self-check opens it anyway'


def open_checked(file: Path, precision: str = 'fp32', threads: int | None = None, self_check: bool = True,
                 requests: int = 1) -> Session:
    """Open an exported file as `open_session` does, and check it if this machine has not yet.

    A file in int8 that is only right in floating point here is run that way.

    Args:
        self_check: False: do not check it, and say so.

    Raises:
        UserError: the file cannot be opened, was changed after its export, or is computed wrong here.
    """
    check_parts(file)
    stated, digest = read_seal(parts(file))
    if not self_check or stated in (None, UNSEALED):
        session = open_session(file, precision, threads, requests=requests)
        if self_check and session.manifest.reference:
            raise UserError(f'{changed(file)}; {ANYWAY}')
        LOGGER.warning(f'{file} is not checked: it may find other boxes here than where it was exported'
                       if session.manifest.reference else
                       f'{file} has no self-check: it was exported before ghostdet 0.3. Export it again to have one')
        return session
    if stated != digest:
        raise UserError(f'{changed(file)}; {ANYWAY}')
    known, key = '', _key(file, digest, precision)
    with suppress(OSError, ValueError, RuntimeError):  # RuntimeError: there is no home
        known = cache_file('checked', f'{key}.txt').read_text()
    if known not in (INTEGERS, FLOATS):
        known = _checked(file, precision, threads)
        with suppress(OSError, RuntimeError):  # without a memory it is checked again
            memory = cache_file('checked', f'{key}.txt')
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_whole(memory, known.encode())
    session = open_session(file, precision, threads, known == INTEGERS, requests)
    if known == FLOATS:
        LOGGER.warning(f'{file} runs in floating point, more slowly: in int8 it is refused or wrong on this machine')
    return session


def changed(file: Path) -> UserError:
    """Return the error for a file whose checksum is not right."""
    return UserError(f'{file} is not as it was exported: it is truncated, or was changed since. Copy '
                     f'{" and ".join(part.name for part in parts(file))} again, or export again')


def _checked(file: Path, precision: str, threads: int | None) -> str:
    """Return the arithmetic in which a file is right."""
    session, first = _tried(file, precision, threads, True)
    if session and isinstance(first, SelfCheck) and first.passes:
        return INTEGERS
    if file.suffix == '.xml' and precision == 'fp32':
        floats, second = _tried(file, precision, threads, False)
        if floats and floats.manifest.precision == 'int8' and isinstance(second, SelfCheck) and second.passes:
            return FLOATS
    if isinstance(first, CannotOpenError):
        raise first
    if session is None or isinstance(first, UserError):
        raise UserError(f'{file} cannot be checked: {first}; {ANYWAY}')
    raise UserError(f'{file} is computed wrong on this machine, by {runtime_version(file)}: {first.to_text()}. '
                    f'{cure(session)}; {ANYWAY}')


def cure(session: Session) -> str:
    """Return what to do with a file that is computed wrong."""
    precise = '' if session.manifest.precision == 'fp32' else 'in fp32 or '
    return f'Use a file {precise}of another format, or another version of {session.package}'


def _tried(file: Path, precision: str, threads: int | None,
           integers: bool) -> tuple[Session | None, SelfCheck | UserError]:
    """Return the opened file and its self-check, or None and the error."""
    try:
        session = open_session(file, precision, threads, integers)
        return session, run_check(session, arithmetic(session, precision))
    except (CannotOpenError, CannotRunError) as error:
        return None, error


def arithmetic(session: Session, precision: str) -> str:
    """Return what a file is computed in: 'fp32', 'fp16', 'int8' or 'bf16'."""
    return 'bf16' if precision == 'bf16' else session.manifest.precision


def _key(file: Path, digest: str, precision: str) -> str:
    """Return a name for everything that the answer depends on."""
    variables = sorted(f'{name}={value}' for name, value in os.environ.items() if name.startswith(VARIABLES))
    facts = [ghostdet.__version__, digest, runtime_version(file), precision, platform.platform(), *_processor(),
             *variables]
    return hashlib.sha256('\n'.join(map(str, facts)).encode()).hexdigest()


def _processor() -> list[Any]:
    """Return what tells this processor's instructions from another's."""
    lines: list[Any] = [platform.machine(), platform.processor()]
    with suppress(OSError):
        first, _, _ = Path('/proc/cpuinfo').read_text().partition('\n\n')
        lines += [line for line in first.splitlines() if 'MHz' not in line and 'bogomips' not in line.lower()]
    with suppress(OSError, AttributeError, TypeError):  # AT_HWCAP, AT_HWCAP2: also right in an emulator
        lines += [ctypes.CDLL(None).getauxval(16), ctypes.CDLL(None).getauxval(26)]
    return lines
