"""Read the headers of many image files, and remember a set without problems."""
import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ghostdet.errors import reason
from ghostdet.files import write_json
from ghostdet.images.decode import Header, read_header
from ghostdet.progress import progress

VERSION = 2  # of what is remembered
MISSING = 'the image file is missing'


def read_headers(folder: Path, names: Sequence[str]) -> tuple[dict[str, Header], dict[str, str]]:
    """Return file name -> header, and file name -> problem for files that are missing or do not open.

    A set without problems is remembered by names, sizes and times, and not opened again.
    """
    stamp, missing = _fingerprint(folder, names)
    cache = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
    memory = cache / 'ghostdet' / 'checked' / f'{stamp}.json'
    if not missing:
        with contextlib.suppress(OSError, ValueError, TypeError):  # without a memory the files are read again
            return {name: Header(*header) for name, header in json.loads(memory.read_text()).items()}, {}
    present = [name for name in names if name not in missing]
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        found = pool.map(_read, (os.path.join(folder, name) for name in present))
        read = dict(progress(zip(present, found), f'checking {folder.name}', len(present), leave=True, unit='image'))
    headers = {name: header for name, header in read.items() if isinstance(header, Header)}
    problems = {name: problem for name, problem in read.items() if isinstance(problem, str)}
    problems |= dict.fromkeys(missing, MISSING)
    if not problems:
        with contextlib.suppress(OSError):
            write_json(memory,
                       {name: (header.width, header.height, header.orientation) for name, header in headers.items()})
    return headers, problems


def _fingerprint(folder: Path, names: Sequence[str]) -> tuple[str, set[str]]:
    digest, missing = hashlib.sha256(f'{VERSION} {folder.absolute()}'.encode()), set()
    for name in names:
        try:
            status = os.stat(os.path.join(folder, name))
            digest.update(f'{name} {status.st_size} {status.st_mtime_ns}\n'.encode('utf-8', 'surrogateescape'))
        except (OSError, ValueError):  # ValueError: not a possible file name
            missing.add(name)
    return digest.hexdigest(), missing


def _read(file: str) -> Header | str:
    try:
        return read_header(file)
    except ValueError as error:  # it has a message of its own
        return f'the image does not open ({error})'
    except Exception as error:  # noqa: BLE001  (Pillow raises many types of errors for a damaged header)
        return f'the image does not open ({reason(error)})'
