"""Checkpoint files: read as data alone, or, on request, in the way that runs what they hold."""
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from ghostdet.errors import UserError, reason
from ghostdet.messages import LOGGER
from ghostdet.weights import inert
from ghostdet.weights.stored_config import program_in

ZIP, PICKLE = b'PK\x03\x04', b'\x80'
OLD_TORCH = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'  # how torch.save began a file before it wrote zip archives
# How files begin that people take for checkpoints.
OTHERS = ((b'<', 'a web page: a download that ended at an error or a login'),
          (b'version https://git-lfs', 'a pointer of Git LFS, not the file itself'),
          (b'\x89PNG', 'a PNG picture'), (b'\xff\xd8', 'a JPEG picture'), (b'{', 'JSON'), (b'\x1f\x8b', 'a gzip archive'))
trusted: ContextVar[bool] = ContextVar('trusted', default=False)


class DamagedFileError(UserError):
    """It is no checkpoint, or not a whole one."""


class UnsafeFileError(UserError):
    """Opening it would run code that it holds."""


@contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Within this, files that hold more than data are opened all the same, where `trust` is true."""
    token = trusted.set(trust)
    try:
        yield
    finally:
        trusted.reset(token)


def read_torch(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Content of a checkpoint: tensors, numbers, text and their containers, and no code run to get them.

    Within `trusting(True)` a file that holds more is opened by Python's pickle, which runs it; a warning says so.

    Raises:
        DamagedFileError: it is missing, empty, cut short, damaged, or another kind of file.
        UnsafeFileError: it holds more than data; the message says what.
    """
    file = Path(os.path.expanduser(path))
    try:
        _check_whole(file)
        content = _read_data(file, map_location)
    except UnsafeFileError as refusal:
        if not trusted.get():
            raise UnsafeFileError(f'{file} was not opened, since {refusal}, which can run any program with your rights. Only if '
                                  'you know who made it, and trust them: --trust-checkpoint') from refusal
        LOGGER.warning(f'{file}: {refusal}. As --trust-checkpoint asks, it is opened in the unsafe way: what it holds runs now, '
                       'with your rights')
        return _read_trusted(file, map_location)
    return content


def beginning(file: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        DamagedFileError: it is missing, or empty.
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
    """What a file is, in words, that begins with `start` and is not what it was taken for."""
    return next((name for magic, name in OTHERS if start.startswith(magic)), f'something that begins with {start[:12]!r}')


def _check_whole(file: Path) -> None:
    """Say what a file is that torch would only fail on; checksums too, which torch does not compare."""
    start = beginning(file)
    if start.startswith(ZIP):
        _check_archive(file, file.stat().st_size)
    elif start.startswith(PICKLE) and not start.startswith(OLD_TORCH):
        raise UnsafeFileError('it is a plain pickle and no file of torch.save')
    elif not start.startswith(OLD_TORCH):
        raise DamagedFileError(f'{file} is not a checkpoint but {kind(start)}')


def _check_archive(file: Path, size: int) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise DamagedFileError(f'{file} is cut short or damaged: it ends after {size:,} bytes ({reason(error)}). Fetch or copy '
                               'it again') from error
    if broken:
        raise DamagedFileError(f'{file} is damaged: the checksum of its part {broken} is wrong. Fetch or copy it again')
    if any(name.endswith('/constants.pkl') for name in names):
        raise UnsafeFileError('it is a TorchScript program')
    if not any(name.endswith('/data.pkl') for name in names):
        raise DamagedFileError(f'{file} is a zip archive, but not one of torch.save')


def _read_data(file: Path, map_location: Any) -> Any:
    try:
        content = inert.load(file, map_location)
    except inert.RefusedError as refusal:
        raise UnsafeFileError(f'it asks for {refusal}') from refusal
    except Exception as error:  # what is damaged fails in as many ways as there are bytes
        raise DamagedFileError(f'{file} is damaged, or not a checkpoint ({reason(error)})') from error
    if isinstance(content, dict):
        _disarm(content)
    return content


def _disarm(content: dict) -> None:
    def part(holder: Any, key: str) -> dict:
        return holder[key] if isinstance(holder, dict) and isinstance(holder.get(key), dict) else {}

    meta, info = part(content, 'meta'), part(part(content, 'message_hub'), 'runtime_info')
    texts = {"meta['config']": meta.get('config'), "meta['cfg']": meta.get('cfg'), 'its message hub': info.get('cfg')}
    for place, text in texts.items():
        program = program_in(str(text or ''))
        if program:
            raise UnsafeFileError(f'the config stored in it, {place}, is a program and not data ({program})')
    if 'config' in meta:
        meta['config_text'] = meta.pop('config')  # under its own name mmengine executes it when a run is resumed


def _read_trusted(file: Path, map_location: Any) -> Any:
    try:
        return torch.load(file, map_location=map_location, weights_only=False)
    except Exception as error:  # it is a program, and fails as it likes
        raise DamagedFileError(f'{file} cannot be read, even in the unsafe way ({reason(error)})') from error
