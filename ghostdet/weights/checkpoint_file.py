"""Read checkpoint files without running code in them. Only a user who trusts a file can turn that protection off."""
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ghostdet.errors import UserError, reason
from ghostdet.messages import LOGGER
from ghostdet.weights import inert
from ghostdet.weights.stored_config import program_in

ZIP, PICKLE = b'PK\x03\x04', b'\x80'
OLD_TORCH = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'  # first bytes of a torch.save file before it wrote zip archives
# First bytes of other files that users mistake for checkpoints.
OTHERS = ((b'<', 'a web page (the download probably returned an error or login page)'),
          (b'version https://git-lfs', 'a Git LFS pointer, not the file itself'),
          (b'\x89PNG', 'a PNG image'), (b'\xff\xd8', 'a JPEG image'), (b'{', 'JSON'), (b'\x1f\x8b', 'a gzip archive'))
trusted: ContextVar[bool] = ContextVar('trusted', default=False)


class DamagedFileError(UserError):
    """The file is not a checkpoint, or is damaged or incomplete."""


class UnsafeFileError(UserError):
    """Opening the file could run code stored in it."""


@contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Within this context, open files that hold more than data, if `trust` is true."""
    token = trusted.set(trust)
    try:
        yield
    finally:
        trusted.reset(token)


def read_torch(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Read a checkpoint (tensors, numbers, text and containers of them) without running code.

    Within `trusting(True)`, Python's pickle opens a file that holds more. Pickle runs the code in it. A warning says
    so.

    Raises:
        DamagedFileError: the file is missing, empty, cut short, damaged, or another kind of file.
        UnsafeFileError: the file holds more than data; the message says what.
    """
    file = Path(os.path.expanduser(path))
    try:
        _check_whole(file)
        content = _read_data(file, map_location)
    except UnsafeFileError as refusal:
        if not trusted.get():
            raise UnsafeFileError(f'{file} was not opened: {refusal}. It could run any program with your rights. If '
                                  'you know and trust the person who made it, use --trust-checkpoint') from refusal
        LOGGER.warning(f'{file}: {refusal}. Because of --trust-checkpoint it is opened in the unsafe way: code in it '
                       'runs now, with your rights')
        return _read_trusted(file, map_location)
    return content


def beginning(file: Path) -> bytes:
    """Return the first 64 bytes of a file.

    Raises:
        DamagedFileError: the file is empty or cannot be read.
    """
    try:
        with file.open('rb') as opened:
            start = opened.read(64)
    except OSError as error:
        raise DamagedFileError(f'{file} cannot be read ({reason(error)})') from error
    if not start:
        raise DamagedFileError(f'{file} is empty')
    return start


def kind(start: bytes) -> str:
    """Describe a file of the wrong kind in words, from its first bytes."""
    return next((name for magic, name in OTHERS if start.startswith(magic)),
                f'something that begins with {start[:12]!r}')


def state_on_disk(file: Path) -> tuple[int, ...]:
    """Return what changes when a file is written, empty for no file. A file in the same state needs no other check."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_size, status.st_ino, status.st_mtime_ns


def _check_whole(file: Path) -> None:
    """Check the kind and the checksums of a file: torch compares none, and its errors do not explain the cause."""
    start = beginning(file)
    if start.startswith(ZIP):
        _check_archive(file, state_on_disk(file))
    elif start.startswith(PICKLE) and not start.startswith(OLD_TORCH):
        raise UnsafeFileError('it is a plain pickle, not a file written by torch.save')
    elif not start.startswith(OLD_TORCH):
        raise DamagedFileError(f'{file} is not a checkpoint but {kind(start)}')


@cache
def _check_archive(file: Path, state: tuple[int, ...]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise DamagedFileError(f'{file} is cut short or damaged ({state[0]:,} bytes; {reason(error)}). Download or '
                               'copy it again') from error
    if broken:
        raise DamagedFileError(f'{file} is damaged: the checksum of its part {broken} is wrong. Download or copy it '
                               'again')
    if any(name.endswith('/constants.pkl') for name in names):
        raise UnsafeFileError('it is a TorchScript program')
    if not any(name.endswith('/data.pkl') for name in names):
        raise DamagedFileError(f'{file} is a zip archive, but not one that torch.save wrote')


def _read_data(file: Path, map_location: Any) -> Any:
    try:
        content = inert.load(file, map_location)
    except inert.RefusedError as refusal:
        raise UnsafeFileError(f'it asks for {refusal}') from refusal
    except Exception as error:  # damaged files raise many kinds of errors
        raise DamagedFileError(f'{file} is damaged, or not a checkpoint ({reason(error)})') from error
    if isinstance(content, dict):
        _disarm(content)
    return content


def _disarm(content: dict) -> None:
    def part(holder: Any, key: str) -> dict:
        return holder[key] if isinstance(holder, dict) and isinstance(holder.get(key), dict) else {}

    meta, info = part(content, 'meta'), part(part(content, 'message_hub'), 'runtime_info')
    texts = {"meta['config']": meta.get('config'), "meta['cfg']": meta.get('cfg'), 'message hub': info.get('cfg')}
    for key, text in texts.items():
        program = program_in(str(text or ''))
        if program:
            raise UnsafeFileError(f'the config stored in it ({key}) is a program, not data ({program})')
    if 'config' in meta:
        meta['config_text'] = meta.pop('config')  # mmengine executes meta['config'] when it resumes a run


def _read_trusted(file: Path, map_location: Any) -> Any:
    try:
        return torch.load(file, map_location=map_location, weights_only=False)
    except Exception as error:  # the file may run any code and raise anything
        raise DamagedFileError(f'{file} cannot be read, even in the unsafe way ({reason(error)})') from error
