"""The one way to a checkpoint: `read` takes a path, a URL, `ghostdet://NAME` or a name of mmengine's, and runs no code.

A download is kept in torch's cache. What has been checked is not checked again in the same process. Where the
environment variable GHOSTDET_WEIGHTS names a folder or an address, the files of `ghostdet://` come from there.
"""
import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import checkpoint as stock

from ghostdet.download import DownloadError, by_hand, checksum, fetch, shown
from ghostdet.errors import PackageError, UserError, reason
from ghostdet.files import beside
from ghostdet.messages import LOGGER
from ghostdet.weights.catalogue import CATALOGUE, DETECTORS, Published, PublishedDetector
from ghostdet.weights.checkpoint_file import (
    DamagedFileError,
    UnsafeFileError,
    beginning,
    kind,
    read_torch,
    state_on_disk,
    trusting,
)
from ghostdet.weights.paddle import read_pdparams
from ghostdet.weights.tensor_bundle import index_file, read_bundle

SCHEME = 'ghostdet://'
MIRROR = 'GHOSTDET_WEIGHTS'  # environment variable: a folder or an http(s) address with the catalogue's files
# Names that mmengine knows, and its functions that return their addresses.
LISTS: dict[str, Callable[[], dict[str, str]]] = {
    'torchvision://': stock.get_torchvision_models, 'modelzoo://': stock.get_torchvision_models,
    'openmmlab://': stock.get_external_models, 'open-mmlab://': stock.get_external_models,
    'mmcls://': stock.get_mmcls_models}
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


def read(name: str, map_location: Any = 'cpu') -> Any:
    """Return the content of a checkpoint: tensors by name, or all that is in a file of torch.

    Args:
        name: a path, a URL, `ghostdet://NAME`, or a name in one of `LISTS`; without options.
        map_location: device of the tensors in a file of torch, as in `torch.load`.

    Raises:
        UserError: as in `locate` and `read_file`.
        PackageError: as in `read_file`.
    """
    return read_file(locate(name), map_location)


def read_file(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Return the content of a file; its ending says its format: see `FORMATS`. Any other file is one of torch.

    Raises:
        DamagedFileError: the file is missing, cut short, or not what its ending says.
        UnsafeFileError: the file holds more than data.
        PackageError: a .safetensors file, and the package safetensors cannot be imported.
    """
    file = Path(os.path.expanduser(path))
    ending = file.suffix.lower()
    if ending not in FORMATS:
        return read_torch(file, map_location)
    start = beginning(file)
    try:
        return FORMATS[ending](file)
    except (UserError, PackageError):
        raise
    except Exception as error:  # damaged files raise many kinds of errors
        raise DamagedFileError(f'{file} is damaged, or is not a {ending} file but {kind(start)} '
                               f'({reason(error)})') from error


def safetensors() -> Any:
    """Import and return the package safetensors.

    Raises:
        PackageError: it cannot be imported.
    """
    try:
        from safetensors import torch as package
    except ImportError as error:
        raise PackageError('.safetensors files need the package safetensors, which cannot be imported '
                           f'({reason(error)}): run pip install safetensors') from error
    return package


FORMATS: dict[str, Callable[[Path], Any]] = {'.pdparams': read_pdparams, '.index': read_bundle,
                                             '.safetensors': lambda file: safetensors().load_file(file)}


def locate(name: str) -> Path:
    """Return the file of a name as in `read`. Download it into torch's cache if it is not there.

    If `MIRROR` is set, `ghostdet://NAME` is the catalogue's file in its folder, or is downloaded from its address. A
    path is returned unchecked. Of a TensorFlow checkpoint it is the path of the index.

    Raises:
        UserError: there is no such name, the download fails, or the file differs from the recorded checksum.
    """
    cache = Path(torch.hub.get_dir()) / 'checkpoints'
    if name.startswith(SCHEME):
        files: dict[str, Published | PublishedDetector] = {**CATALOGUE, **DETECTORS}
        entry = files.get(name.removeprefix(SCHEME))
        if entry is None:
            similar = get_close_matches(name.removeprefix(SCHEME), files, 5) or list(DETECTORS)
            raise UserError(f'unknown weights {name}; similar names: {", ".join(similar)}. "ghostdet weights list" '
                            'lists all')
        return _published(entry, cache / entry.file)
    scheme, mark, short = name.partition('://')
    if scheme.lower() in ('http', 'https'):
        origin = hashlib.sha256(name.encode()).hexdigest()[:8]  # many files have the same name, such as model.pth
        last = short.partition('?')[0].rpartition('/')[2]
        return _remembered(fetch(name, cache / f'{origin}-{last[-LAST_PART:] or "file"}'), name, None)
    if scheme + mark in LISTS:
        return _listed(name, scheme, short)
    if mark:
        raise UserError(f'{shown(name)}: cannot read from this kind of storage; download the file and give its path')
    return index_file(Path(os.path.expanduser(name)))


def _published(entry: Published | PublishedDetector, file: Path) -> Path:
    """Return a file of the catalogue: in the folder of `MIRROR`, or else `file`, downloaded if it is not there."""
    mirror, url = os.environ.get(MIRROR, ''), entry.url
    if mirror.lower().startswith(('http://', 'https://')):
        url = f'{mirror.rstrip("/")}/{entry.file}'
    elif mirror:
        file = Path(mirror).expanduser() / entry.file
        if not file.parent.is_dir():
            raise DownloadError(f'{MIRROR} is {mirror}, which is no folder and no http(s) address')
        if not file.is_file():
            raise DownloadError(f'{MIRROR} names the folder {file.parent}, which has no {entry.file}: save {url} '
                                'there under this name')
        return _remembered(file, url, entry.sha256, f'save {url} there again')
    try:
        fetch(url, file, digest=('sha256', entry.sha256) if entry.sha256 else None)
    except DownloadError as error:
        raise DownloadError(f'{error}. ' + (f'{MIRROR} names this address' if mirror else
                            f'Or set the environment variable {MIRROR} to a folder or an address that has '
                            f'{entry.file}')) from error
    return _remembered(file, url, entry.sha256)


def _listed(name: str, scheme: str, short: str) -> Path:
    models = LISTS[f'{scheme}://']()
    if 'lab' in scheme:
        short = stock.get_deprecated_model_names().get(short, short)
    if short not in models:
        raise UserError(f'there are no weights {name}; similar names: '
                        f'{", ".join(get_close_matches(short, models)) or "none"}')
    address = models[short]
    return locate(address) if '://' in address else Path(stock._get_mmengine_home()) / address


@cache
def _sha256(file: Path, _: tuple) -> str:
    return checksum(file)


def _remembered(file: Path, url: str, published: str | None, cure: str = '') -> Path:
    """Compare a file with its published checksum and with the checksum recorded at its first use.

    Args:
        cure: how to replace a wrong file of the user's own; without it, the file is a download and may be deleted.
    """
    digest, record = _sha256(file, state_on_disk(file)), file.with_name(f'{file.name}.sha256')
    known = record.read_text().split() if record.exists() else []
    if published is not None and not digest.startswith(published):
        raise DamagedFileError(f'{file} is not the published file, whose sha256 begins with {published}: '
                               f'{cure or "delete it; the next run downloads it again"}')
    if known and known[0] != digest:
        raise DamagedFileError(f'{file} has changed: its sha256 is {digest}, but {record.name} says another. If you '
                               f'replaced the file yourself, delete {record.name}. Otherwise '
                               + (cure or 'delete both; the next run downloads it again'))
    if not known and os.access(file.parent, os.W_OK):  # otherwise another user owns this cache
        if published is None:
            _check_readable(file, shown(url), cure)
        part = beside(record)
        part.write_text(f'{digest}  {file.name}\n')
        part.replace(record)
    how = ('as published' if published else 'the same as at its first use' if known else
           'new, and no published value exists')
    LOGGER.info(f'{file}: its sha256 ({digest}) is {how}')
    return file


def _check_readable(file: Path, name: str, cure: str) -> None:
    """Check that a new file is a whole checkpoint; otherwise raise a DamagedFileError, and delete a download.

    An unsafe file passes: it is refused when it is used.
    """
    try:
        with suppress(UnsafeFileError), trusting(False):  # safety is checked when the file is used
            read_file(file)
    except DamagedFileError as error:
        if cure:
            raise DamagedFileError(f'{error}: {cure}') from error
        file.unlink(missing_ok=True)
        raise DownloadError(f'{name} returned no weights: {error}. The file was deleted. Try again; if it fails in the '
                            f'same way, open the URL in a browser. {by_hand(file)}') from error
