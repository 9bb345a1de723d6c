"""Read TensorFlow checkpoints without TensorFlow: an `.index` file of names, and `.data-*` files of values beside it.

An index is a table of LevelDB. It consists of blocks of sorted (key, value) pairs. Its last bytes, the footer, say
where the block is that lists the other blocks. The values describe tensors, as protocol buffers. All checksums are
compared.

Sources: google/leveldb `doc/table_format.md`; TensorFlow `tensor_bundle.proto`, `tensor_shape.proto`, `types.proto`.
"""
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from math import prod
from os.path import isfile  # unlike Path.is_file it raises no errors
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostdet.errors import reason
from ghostdet.weights.checkpoint_file import DamagedFileError
from ghostdet.weights.crc32c import crc32c

FOOTER, MAGIC = 48, bytes.fromhex('57fb808b247547db')  # bytes in a footer, and its last eight
LONGEST = 1000  # characters in a name; a name may repeat the one before it, so a small file could hold very long ones
NUMPY = {1: '<f4', 2: '<f8', 3: '<i4', 9: '<i8', 19: '<f2'}  # DataType in types.proto: numpy's name
FIXED = {1: 8, 5: 4}  # kinds of fields in a protocol buffer that have a fixed length: their bytes
AGAIN = 'Download or copy it again'


@dataclass(frozen=True)
class Entry:
    """Where the values of one tensor are."""

    dtype: int  # a key of NUMPY
    shape: tuple[int, ...]
    file: int  # number of the data file
    offset: int  # in bytes
    size: int  # in bytes
    checksum: int


def index_file(path: Path) -> Path:
    """Return the index of the checkpoint that `path` belongs to. A path that belongs to none is returned unchanged.

    TensorFlow names a checkpoint by what its files have in common: `ghostnet_checkpoint` for
    `ghostnet_checkpoint.index`.

    >>> index_file(Path('models/ghostnet_checkpoint.data-00000-of-00001')).as_posix()
    'models/ghostnet_checkpoint.index'
    """
    start = re.sub(r'\.data-\d{5}-of-\d{5}$', '', path.name)
    if not start:
        return path
    index = path.with_name(f'{start}.index')
    return index if start != path.name or (not isfile(path) and isfile(index)) else path


def read_bundle(index: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, by their names in TensorFlow.

    Raises:
        DamagedFileError: a file is missing, cut short or damaged, or holds something else than numbers; the message
        says which.
        Exception: the index is of another kind, or damaged.
    """
    files, entries = read_index(index)
    tensors: dict[str, torch.Tensor] = {}
    for number in sorted({entry.file for entry in entries.values()}):
        data = index.with_suffix(f'.data-{number:05d}-of-{files:05d}')
        tensors |= _values(data, {name: entry for name, entry in entries.items() if entry.file == number}, index)
    return tensors


def read_index(index: Path) -> tuple[int, dict[str, Entry]]:
    """Return the number of data files of a checkpoint, and its tensors by name.

    Raises:
        Exception: as in `read_bundle`.
    """
    table = _table(index.read_bytes())
    if b'' not in table:
        raise ValueError('it has no header')
    header = _fields(table.pop(b''))
    if header.get(2, [0])[-1]:
        raise ValueError('it is from a big-endian machine')
    return header.get(1, [0])[-1], {key.decode(): _entry(value) for key, value in table.items()}


# ----------------------------------------------------------------------------------------------------------- the values

def _values(data: Path, entries: dict[str, Entry], index: Path) -> dict[str, torch.Tensor]:
    try:
        with data.open('rb') as opened:
            _check_entries(entries, index, data)
            return {name: _tensor(opened, name, entry) for name, entry in entries.items()}
    except OSError as error:
        raise DamagedFileError(f'{data} cannot be read ({reason(error)}). It holds the values of the tensors that '
                               f'{index.name} names: put both into one folder') from error


def _check_entries(entries: dict[str, Entry], index: Path, data: Path) -> None:
    length = data.stat().st_size
    for name, entry in entries.items():
        if entry.dtype not in NUMPY:
            raise DamagedFileError(f'{index}: {name} is not a tensor of numbers (TensorFlow type {entry.dtype})')
        needed = prod(entry.shape) * np.dtype(NUMPY[entry.dtype]).itemsize
        if needed != entry.size:
            raise DamagedFileError(f'{index} is damaged: {name} has the shape {entry.shape}, which needs {needed:,} '
                                   f'bytes, but {entry.size:,} bytes of values. {AGAIN}')
        if entry.offset + entry.size > length:
            raise DamagedFileError(f'{data} is cut short: it has {length:,} bytes, but the values of {name} end at '
                                   f'byte {entry.offset + entry.size:,}. {AGAIN}')
    if sum(entry.size for entry in entries.values()) > length:
        raise DamagedFileError(f'{index} is damaged: tensors share bytes of {data.name}. {AGAIN}')


def _tensor(opened: Any, name: str, entry: Entry) -> torch.Tensor:
    opened.seek(entry.offset)
    content = opened.read(entry.size)
    if _masked(crc32c(content)) != entry.checksum:
        raise DamagedFileError(f'{opened.name} is damaged: the checksum of {name} is wrong. {AGAIN}')
    values: np.ndarray = np.frombuffer(content, NUMPY[entry.dtype])
    return torch.from_numpy(values.reshape(entry.shape).copy())


# ------------------------------------------------------------------------------------------------------------ the index

def _table(content: bytes) -> dict[bytes, bytes]:
    """Return the pairs in a table."""
    footer = content[-FOOTER:]
    if len(footer) < FOOTER or not footer.endswith(MAGIC):
        raise ValueError('its last bytes are not those of an index, so it may be cut short')
    _, _, start, size = _integers(BytesIO(footer), 4)
    blocks = [_integers(BytesIO(value), 2) for _, value in _block(content, start, size)]
    if sum(size for _, size in blocks) > len(content):
        raise ValueError('it names more bytes than it has')
    return dict(pair for start, size in blocks for pair in _block(content, start, size))


def _block(content: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the pairs in one block. A key is stored without the beginning that it shares with the key before it."""
    end = start + size
    if _masked(crc32c(content[start:end + 1])) != int.from_bytes(content[end + 1:end + 5], 'little'):
        raise ValueError(f'the checksum of its {size} bytes from byte {start} on is wrong')
    if content[end]:
        raise ValueError('it is compressed')
    block, key = BytesIO(content[start:end]), b''
    # the end lists where keys are stored whole, and how many
    stop = size - 4 * (1 + int.from_bytes(content[end - 4:end], 'little'))
    while block.tell() < stop:
        shared, own, length = _integers(block, 3)
        key = key[:shared] + block.read(own)
        if len(key) > LONGEST:
            raise ValueError(f'it has a name of more than {LONGEST} characters')
        yield key, block.read(length)


def _entry(value: bytes) -> Entry:
    fields = _fields(value)
    if 7 in fields:
        raise ValueError('it stores a tensor in slices')
    shape = [_fields(dimension) for message in fields.get(2, []) for dimension in _fields(message).get(2, [])]
    dtype, file, offset, size, checksum = (fields.get(number, [0])[-1] for number in (1, 3, 4, 5, 6))
    return Entry(dtype, tuple(dimension.get(1, [0])[-1] for dimension in shape), file, offset, size, checksum)


def _fields(message: bytes) -> dict[int, list[Any]]:
    """Return the fields of a protocol buffer by number: integers, and bytes of texts and of inner messages."""
    fields: dict[int, list[Any]] = {}
    stream = BytesIO(message)
    while stream.tell() < len(message):
        tag, = _integers(stream, 1)
        number, kind = tag >> 3, tag & 7
        value: Any
        if kind in (0, 2):
            value, = _integers(stream, 1)
            value = stream.read(value) if kind else value
        elif kind in FIXED:
            value = int.from_bytes(stream.read(FIXED[kind]), 'little')
        else:
            raise ValueError(f'it has a field of the unknown kind {kind}')
        fields.setdefault(number, []).append(value)
    return fields


def _integers(stream: BytesIO, count: int) -> list[int]:
    """Read integers. Each byte holds 7 bits, the lowest first; 128 means more follow."""
    integers = []
    for _ in range(count):
        value, shift, more = 0, 0, True
        while more:
            byte = stream.read(1)[0]
            value |= (byte & 127) << shift
            shift, more = shift + 7, byte >= 128
            if more and shift == 70:
                raise ValueError('it has an integer of more than 64 bits')
        integers.append(value)
    return integers


def _masked(checksum: int) -> int:
    """Return a checksum as both files store it: turned by 15 bits, plus a constant."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
