"""Writes files atomically, locks them, and makes folders."""
import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ghostdet.errors import DataError, UserError, reason
from ghostdet.messages import LOGGER

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNFINISHED = '.part'  # suffix of a file while it is written


def beside(path: Path) -> Path:
    """Return a unique path in the folder of `path`.

    A process id would not be unique if several machines share the folder.
    """
    return path.with_name(f'{path.name}.{uuid.uuid4().hex}')


def cache_file(*names: str) -> Path:
    """Return the path of a file in ghostdet's folder of the user's cache."""
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser().joinpath('ghostdet', *names)


def make_folder(path: Path, option: str) -> None:
    """Make a folder that the user named with `option`.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot make the folder {path} ({reason(error)}): name another one with {option}') from error


def read_lines(file: Path, what: str) -> list[str]:
    """Return the lines of a text file, without white space at their ends.

    Args:
        what: what the file is, for the message.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return [line.strip() for line in file.read_text('utf-8-sig').splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{what} {file} cannot be read ({reason(error)}). Save it as UTF-8 text.') from None


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file atomically: `path` always has the complete old or new content, even after a power cut.

    Raises:
        OSError: it cannot be written; `path` is unchanged.
    """
    target = Path(path)
    part = target.with_name(target.name + UNFINISHED)
    try:
        with part.open('wb') as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(target)
    except OSError:
        with contextlib.suppress(OSError):  # for example a name that is too long; it would hide the first error
            part.unlink(missing_ok=True)
        raise
    if os.name != 'nt':  # Windows cannot open a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name must be on disk before anything old is deleted
        finally:
            os.close(folder)


def write_json(file: Path, content: dict) -> None:
    """Write JSON so that other processes never read half of it, also if all processes of a run write the same file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = beside(file)
    partial.write_text(json.dumps(content))
    partial.rename(file)


@contextmanager
def file_lock(file: Path, waiting: str = '') -> Iterator[int]:
    """Lock `file`, so that only one process at a time runs the `with` block.

    Yields the file descriptor; a child process can inherit it. On a system or storage without locks, the block runs
    unprotected.

    Args:
        file: the lock file; made if it is missing.
        waiting: message to show if another process holds the lock.
    """
    with file.open('a') as opened:
        with contextlib.suppress(OSError):
            if fcntl is not None:
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if waiting:
                        LOGGER.info(waiting)
                    fcntl.flock(opened, fcntl.LOCK_EX)
        yield opened.fileno()
