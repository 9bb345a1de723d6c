"""Files that are there whole or not at all."""
import contextlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ghostdet.errors import UserError, reason
from ghostdet.messages import LOGGER

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNFINISHED = '.part'  # ending of a file while it is written


def beside(path: Path) -> Path:
    """A name beside `path` that nobody else takes: process ids are not enough where several machines share a folder."""
    return path.with_name(f'{path.name}.{uuid.uuid4().hex}')


def make_folder(path: Path, option: str) -> None:
    """Make a folder that the command line names.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'the folder {path} cannot be made ({reason(error)}): name another with {option}') from error


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file so that at any moment, power cuts included, `path` is the old content or the new, never less.

    Raises:
        OSError: it cannot be written; `path` is as it was.
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
        with contextlib.suppress(OSError):  # of a name that is too long, for one, which would hide the first
            part.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, is on the disk before anything old is deleted
    finally:
        os.close(folder)


@contextmanager
def file_lock(file: Path, waiting: str = '') -> Iterator[int]:
    """Hold `file` as a lock; one process at a time gets past. Yields its descriptor, for a process that has to inherit the lock.

    Where the storage or the system has no locks, nobody waits.

    Args:
        waiting: a message for the user, if another process holds the lock.
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
