"""Where weights come from: a name of the catalogue, an address or a path, each with `?ema` or `?widen` if wanted."""
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

import torch
from mmengine.logging import print_log

from ghostdet.download import DownloadError, by_hand, checksum, fetch, shown
from ghostdet.errors import UserError
from ghostdet.files import beside
from ghostdet.weights.catalogue import CATALOGUE
from ghostdet.weights.checkpoint_file import DamagedFileError, UnsafeFileError, trusting
from ghostdet.weights.formats import read_file

SCHEME = 'ghostdet://'
LAST_PART = 50  # characters of an address that its file in the cache is called by; a file's name has room for 255 bytes


def split_options(checkpoint: str) -> tuple[str, set[str]]:
    """A checkpoint's name and its options; what else an address asks for is the server's.

    >>> split_options('ghostdet://ghostnet_1.0x?widen')
    ('ghostdet://ghostnet_1.0x', {'widen'})
    >>> split_options('https://example.org/a.pth?download=1&ema')
    ('https://example.org/a.pth?download=1', {'ema'})
    """
    match = re.fullmatch(r'(.+?)((?:[?&](?:widen|ema))+)', checkpoint)
    return (match[1], set(re.split('[?&]', match[2][1:]))) if match else (checkpoint, set())


def locate(name: str) -> Path:
    """The file of a name, address or path, fetched into torch's cache where it is not there yet.

    Raises:
        UserError: the catalogue has no such name, or the file cannot be had.
    """
    cache = Path(torch.hub.get_dir()) / 'checkpoints'
    if name.startswith(SCHEME):
        entry = CATALOGUE.get(name.removeprefix(SCHEME))
        if entry is None:
            raise UserError(f'there are no weights {name}; there are {", ".join(SCHEME + known for known in CATALOGUE)}')
        digest = ('sha256', entry.sha256) if entry.sha256 else None
        return _remembered(fetch(entry.url, cache / entry.file, entry.size, digest), entry.url, entry.sha256)
    if name.lower().startswith(('http://', 'https://')):
        origin = hashlib.sha256(name.encode()).hexdigest()[:8]  # many files are called model.pth
        last = name.partition('://')[2].partition('?')[0].rpartition('/')[2]
        return _remembered(fetch(name, cache / f'{origin}-{last[-LAST_PART:] or "file"}'), name, None)
    if '://' in name:
        raise UserError(f'{shown(name)}: weights come from {SCHEME}NAME, an http or https address, or a path')
    return Path(os.path.expanduser(name))


def _remembered(file: Path, url: str, published: str | None) -> Path:
    """Compare a fetched file with the checksum that its publisher gives, and with that of its first day."""
    found, record = checksum(file), file.with_name(f'{file.name}.sha256')
    known = record.read_text().split() if record.exists() else []
    if published is not None and not found.startswith(published):
        raise DamagedFileError(f'{file} is not the published file, whose sha256 begins with {published}. Delete it, and it is '
                               'fetched again')
    if known and known[0] != found:
        raise DamagedFileError(f'{file} is not what was fetched: its sha256 is {found}, and {record.name} has another. If you '
                               f'put it there yourself, delete {record.name}; else delete both, and it is fetched again')
    if not known and os.access(file.parent, os.W_OK):  # else it is a cache that others keep
        if published is None:
            _check_readable(file, shown(url))
        part = beside(record)
        part.write_text(f'{found}  {file.name}\n')
        part.replace(record)
    how = ('as published' if published else 'as on the day it was fetched' if known else
           f'what it will be compared with, since nobody has published one{_by_its_name(file, found)}')
    print_log(f'{file}: its sha256, {found}, is {how}', logger='current')
    return file


def _check_readable(file: Path, name: str) -> None:
    """Delete what is no whole checkpoint, as the page of a login, before its checksum is taken for that of the weights."""
    try:
        with suppress(UnsafeFileError), trusting(False):  # whether it may be opened is not asked here
            read_file(file)
    except DamagedFileError as error:
        file.unlink(missing_ok=True)
        raise DownloadError(f'{name} brought no weights: {error}. It was deleted; try again, and if the same comes, see what the '
                            f'address shows in a browser. {by_hand(file)}') from error


def _by_its_name(file: Path, found: str) -> str:
    # torch.hub's and OpenMMLab's tools end a name in the first digits of the sha256. Other names end in such digits by chance,
    # and of d-li14's file nobody says what they are: so they are a hint, and no reason to refuse it.
    digits = re.search(r'.-([0-9a-f]{8})\.\w+$', file.name)
    return ('' if not digits else '; its name ends in the first digits of it' if found.startswith(digits[1]) else
            f'; ATTENTION: its name ends in {digits[1]}, which may be the first digits that it once had')
