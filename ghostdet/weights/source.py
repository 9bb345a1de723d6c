"""Find weight files by catalogue name, URL or path; download them if needed. `?ema`, `?widen` may follow a name."""
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
from ghostdet.weights.catalogue import CATALOGUE, DETECTORS, Published, PublishedDetector
from ghostdet.weights.checkpoint_file import DamagedFileError, UnsafeFileError, trusting
from ghostdet.weights.formats import read_file
from ghostdet.weights.tensor_bundle import index_file

SCHEME = 'ghostdet://'
LAST_PART = 50  # characters of a URL that the cached file's name keeps; file names have at most 255 bytes


def split_options(checkpoint: str) -> tuple[str, set[str]]:
    """Split a checkpoint's name from its options `ema` and `widen`. Other URL parameters stay in the name.

    >>> split_options('ghostdet://ghostnet_1.0x?widen')
    ('ghostdet://ghostnet_1.0x', {'widen'})
    >>> split_options('https://example.org/a.pth?download=1&ema')
    ('https://example.org/a.pth?download=1', {'ema'})
    """
    match = re.fullmatch(r'(.+?)((?:[?&](?:widen|ema))+)', checkpoint)
    return (match[1], set(re.split('[?&]', match[2][1:]))) if match else (checkpoint, set())


def locate(name: str) -> Path:
    """Return the file of a catalogue name, URL or path. Download it into torch's cache if it is not there.

    A path is returned unchecked. Of a TensorFlow checkpoint it is the path of the index.

    Raises:
        UserError: the catalogue has no such name, the download fails, or the file differs from the recorded checksum.
    """
    cache = Path(torch.hub.get_dir()) / 'checkpoints'
    if name.startswith(SCHEME):
        files: dict[str, Published | PublishedDetector] = {**CATALOGUE, **DETECTORS}
        entry = files.get(name.removeprefix(SCHEME))
        if entry is None:
            raise UserError(f'unknown weights {name}; use one of {", ".join(SCHEME + known for known in files)}')
        digest = ('sha256', entry.sha256) if entry.sha256 else None
        return _remembered(fetch(entry.url, cache / entry.file, entry.size, digest), entry.url, entry.sha256)
    if name.lower().startswith(('http://', 'https://')):
        origin = hashlib.sha256(name.encode()).hexdigest()[:8]  # many files have the same name, such as model.pth
        last = name.partition('://')[2].partition('?')[0].rpartition('/')[2]
        return _remembered(fetch(name, cache / f'{origin}-{last[-LAST_PART:] or "file"}'), name, None)
    if '://' in name:
        raise UserError(f'{shown(name)}: expected {SCHEME}NAME, an http or https URL, or a path')
    return index_file(Path(os.path.expanduser(name)))


def _remembered(file: Path, url: str, published: str | None) -> Path:
    """Compare a downloaded file with its published checksum and with the checksum recorded at its first use."""
    found, record = checksum(file), file.with_name(f'{file.name}.sha256')
    known = record.read_text().split() if record.exists() else []
    if published is not None and not found.startswith(published):
        raise DamagedFileError(f'{file} is not the published file, whose sha256 begins with {published}. Delete it; '
                               'the next run downloads it again')
    if known and known[0] != found:
        raise DamagedFileError(f'{file} has changed: its sha256 is {found}, but {record.name} says another. If you '
                               f'replaced the file yourself, delete {record.name}. Otherwise delete both; the next run '
                               'downloads it again')
    if not known and os.access(file.parent, os.W_OK):  # otherwise another user owns this cache
        if published is None:
            _check_readable(file, shown(url))
        part = beside(record)
        part.write_text(f'{found}  {file.name}\n')
        part.replace(record)
    how = ('as published' if published else 'the same as at its first use' if known else
           f'new, and no published value exists{_by_its_name(file, found)}')
    print_log(f'{file}: its sha256 ({found}) is {how}', logger='current')
    return file


def _check_readable(file: Path, name: str) -> None:
    """Check that a new download is a whole checkpoint; otherwise delete it and raise a DownloadError.

    An unsafe file passes: it is refused when it is used.
    """
    try:
        with suppress(UnsafeFileError), trusting(False):  # safety is checked when the file is used
            read_file(file)
    except DamagedFileError as error:
        file.unlink(missing_ok=True)
        raise DownloadError(f'{name} returned no weights: {error}. The file was deleted. Try again; if it fails in the '
                            f'same way, open the URL in a browser. {by_hand(file)}') from error


def _by_its_name(file: Path, found: str) -> str:
    # torch.hub and OpenMMLab end file names in the first digits of the sha256. Other names may end in such digits by
    # chance, and d-li14 does not document theirs. So a mismatch is a hint and not an error.
    digits = re.search(r'.-([0-9a-f]{8})\.\w+$', file.name)
    return ('' if not digits else '; its name ends in the same digits' if found.startswith(digits[1]) else
            f'; ATTENTION: its name ends in {digits[1]}, which may be the start of another sha256')
