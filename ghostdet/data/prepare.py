"""Prepare COCO 2017 in a folder: download, unpack and check what is missing. Does nothing if the folder is complete."""
import json
import os
import shutil
import zlib
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from ghostdet.download import CHUNK, checksum, fetch
from ghostdet.errors import DataError, Interrupted, reason
from ghostdet.files import UNFINISHED, file_lock, write_whole
from ghostdet.messages import LOGGER, shorten
from ghostdet.progress import progress

URL = 'http://images.cocodataset.org'
STAMP = '.complete.json'


@dataclass(frozen=True)
class Archive:
    """One archive and the folder that it fills.

    Attributes:
        path: path below the server's base URL.
        size: bytes of the archive.
        unpacked: bytes of the folder, rounded up; only used to check free space.
    """

    folder: str
    path: str
    size: int
    md5: str
    unpacked: int

    @property
    def name(self) -> str:
        """File name of the archive."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Counts:
    """Numbers of images and boxes in an annotation file."""

    images: int
    boxes: int


ANNOTATIONS = 'annotations'
# Small archives first, so that a wrong mirror or folder is reported within minutes.
ARCHIVES = (
    Archive(ANNOTATIONS, 'annotations/annotations_trainval2017.zip', 252_907_541, 'f4bbac642086de4f52a3fdda2de5fa2c',
            850_000_000),
    Archive('val2017', 'zips/val2017.zip', 815_585_330, '442b8da7639aecaf257c1dceb8ba8c80', 850_000_000),
    Archive('train2017', 'zips/train2017.zip', 19_336_861_798, 'cced6f7f71b7629ddf16f17bbcfab6b2', 19_700_000_000))
SPLITS = {'train2017': Counts(118_287, 860_001), 'val2017': Counts(5_000, 36_781)}  # by image folder


class CocoFolder:
    """The folder of COCO 2017, which can be checked and completed.

    It is complete if the annotation files list COCO's numbers of images and boxes, and every listed image is present.
    An image is present if its file is not empty. If the archive is still in the folder, the file must also have the
    size in the archive. Images are not decoded: a damaged image is found when it is loaded.

    Raises:
        DataError: `root` is a file.
    """

    def __init__(self, root: Path) -> None:
        if root.exists() and not root.is_dir():
            raise DataError(f'{root} is a file, but COCO needs a folder: choose another path')
        self.root = root
        self.counts: dict[str, Counts] = {}  # counts in the annotation files that were read
        self._names: dict[str, set[str]] = {}

    def complete(self, url: str = URL, keep_zips: bool = False) -> None:
        """Download and unpack what is missing. If it stops, run it again; it continues where it stopped.

        Args:
            url: base URL of COCO's server or of a mirror with the same paths.
            keep_zips: keep the archives. Otherwise each is deleted after it is unpacked. Archives of complete folders
                stay.

        Raises:
            DataError: `url` is not http(s), the folder cannot be written or holds another data set, the disk is too
                full, or an archive is damaged.
            DownloadError: an archive cannot be downloaded, or has another size or checksum.
            Interrupted: the user stopped it.
        """
        if not url.startswith(('http://', 'https://')):
            raise DataError(f'{url} is not a server address: it must start with http:// or https://')
        try:
            if not self._is_stamped():
                self._complete_all(url, keep_zips)
        except OSError as error:
            raise DataError(f'{self.root} cannot be written or read ({reason(error)}). Fix this or choose another '
                            'folder. The same command continues where it stopped') from error
        except KeyboardInterrupt:
            raise Interrupted('interrupted; the same command continues where it stopped') from None
        for file in (self.root / archive.name for archive in ARCHIVES):
            if file.exists() and not keep_zips:  # it may belong to another user, so it stays
                LOGGER.info(f'{file} is no longer needed; you can delete it')

    def problems(self, archive: Archive) -> dict[str, str]:
        """Return file name -> problem for the files that `archive` contains. Empty if all are complete.

        Raises:
            DataError: the annotations belong to another data set.
        """
        annotations = archive.folder == ANNOTATIONS
        there = _sizes(self.root / archive.folder)
        names = {_file_of(split) for split in SPLITS} if annotations else self._listed(archive.folder)
        if not names or not there:
            wanted = len(SPLITS) if annotations else SPLITS[archive.folder].images
            return {f'{archive.folder}/': f'has {len(there):,} of {wanted:,} files'} if len(there) < wanted else {}
        packed = self._packed(archive)
        wrong = {}
        for name in sorted(names):
            if not there.get(name):
                wrong[name] = 'is empty' if name in there else 'is missing'
            elif there[name] != packed.get(name, there[name]):
                wrong[name] = f'has {there[name]:,} of {packed[name]:,} bytes'
        if annotations:
            broken = {_file_of(split) for split in SPLITS if not self._listed(split)}
            wrong |= dict.fromkeys(sorted(broken - wrong.keys()), 'is not a valid annotation file')
        return wrong

    def table(self) -> str:
        """Return a table of the numbers in the folder and in complete COCO."""
        rows = [f'{self.root!s:38}    images  complete     boxes  complete']
        for split, full in SPLITS.items():
            read = self.counts.get(split, Counts(0, 0))
            name = f'{ANNOTATIONS}/{_file_of(split)}'
            rows.append(f'{name:38}{read.images:>10,}{full.images:>10,}{read.boxes:>10,}{full.boxes:>10,}')
        for split, full in SPLITS.items():
            images = [name for name, size in _sizes(self.root / split).items() if size and name.endswith('.jpg')]
            rows.append(f'{split + "/*.jpg":38}{len(images):>10,}{full.images:>10,}')
        return '\n'.join(rows)

    def _complete_all(self, url: str, keep_zips: bool) -> None:
        if any(self.problems(archive) for archive in ARCHIVES):
            self.root.mkdir(parents=True, exist_ok=True)
            with file_lock(self.root / '.prepare.lock'):  # a second run waits for the first, then finds nothing to do
                self._check_room([archive for archive in ARCHIVES if self.problems(archive)])
                for archive in ARCHIVES:
                    self._complete_one(archive, url, keep_zips)
        with suppress(OSError):  # complete but read-only: then each run checks it again
            write_whole(self.root / STAMP, json.dumps(self._seen()).encode())

    def _complete_one(self, archive: Archive, url: str, keep_zips: bool) -> None:
        wrong = self.problems(archive)
        if not wrong:
            return
        file = self.root / archive.name
        LOGGER.info(f'{self.root / archive.folder} is not complete: {_described(wrong)}')
        if file.exists() and (file.stat().st_size != archive.size or checksum(file, 'md5') != archive.md5):
            file.unlink()
            LOGGER.info(f'{file} was not the COCO archive of that name (wrong size or checksum). It was '
                        'deleted, and is downloaded again')
        fetch(f'{url.rstrip("/")}/{archive.path}', file, archive.size, ('md5', archive.md5))
        unpack(file, self.root / archive.folder, again=wrong)
        if wrong := self.problems(archive):
            raise DataError(f'{self.root / archive.folder} is still not complete after {file} was unpacked: '
                            f'{_described(wrong)}')
        if not keep_zips:
            os.sync()  # write the images to disk before their archive is deleted
            file.unlink()

    def _check_room(self, missing: list[Archive]) -> None:
        needed = 0
        for archive in missing:
            file = self.root / archive.name
            had = sum(path.stat().st_size for path in (file, file.with_name(file.name + UNFINISHED)) if path.exists())
            unpacked = sum(_sizes(self.root / archive.folder).values())
            needed += max(0, archive.size - had) + max(0, archive.unpacked - unpacked)
        free = shutil.disk_usage(self.root).free
        if needed > free:
            raise DataError(f'{self.root} has {free:,} bytes free, but '
                            f'{", ".join(archive.name for archive in missing)} and their unpacked files need '
                            f'{needed:,}. Free some space, or choose a folder on another disk')

    def _listed(self, split: str) -> set[str]:
        """Return the image names in a split's annotation file; empty if the file is missing or broken."""
        if split in self._names:
            return self._names[split]
        file = self.root / ANNOTATIONS / _file_of(split)
        if not file.is_file():
            return set()
        try:
            content = json.loads(file.read_bytes())
            names, boxes = {image['file_name'] for image in content['images']}, len(content['annotations'])
        except (ValueError, LookupError, TypeError):
            return set()
        self.counts[split], full = Counts(len(names), boxes), SPLITS[split]
        if self.counts[split] != full:
            # A valid file of another data set: overwriting it could destroy the only copy.
            raise DataError(f'{file} lists {len(names):,} images and {boxes:,} boxes, but COCO has {full.images:,} and '
                            f'{full.boxes:,}: the file belongs to another data set. Choose another folder, or move '
                            'this file')
        return self._names.setdefault(split, names)

    def _packed(self, archive: Archive) -> dict[str, int]:
        """Return file name -> bytes from the archive, if it is in the folder and has the right size."""
        file = self.root / archive.name
        if file.is_file() and file.stat().st_size == archive.size:
            with suppress(BadZipFile), ZipFile(file) as opened:
                return {name: entry.file_size for name, entry in _entries(opened, archive.folder).items()}
        return {}

    def _seen(self) -> dict[str, list[int]]:
        """Return the numbers of files and bytes per folder, to recognise a complete folder later."""
        sizes = {archive.folder: _sizes(self.root / archive.folder) for archive in ARCHIVES}
        return {folder: [len(files), sum(files.values())] for folder, files in sizes.items()}

    def _is_stamped(self) -> bool:
        with suppress(OSError, ValueError):
            if json.loads((self.root / STAMP).read_bytes()) == self._seen():
                self.counts = dict(SPLITS)
                return True
        return False


def unpack(file: Path, folder: Path, again: Container[str] = ()) -> None:
    """Unpack the files of a zip that belong into `folder`. The zip has a folder of the same name.

    Files that already have the right size are skipped. A file gets its final name only when it is complete.

    Args:
        again: names to write even if their size is right.

    Raises:
        DataError: the zip is damaged, or an entry leads out of the folder. The zip is deleted.
    """
    try:
        with ZipFile(file) as archive:
            there, entries = _sizes(folder), _entries(archive, folder.name)
            missing = {name: entry for name, entry in entries.items()
                       if name in again or there.get(name) != entry.file_size}
            folder.mkdir(exist_ok=True)
            total = sum(entry.file_size for entry in missing.values())
            with progress(desc=f'unpack {file.name}', total=total, unit='B', unit_scale=True, unit_divisor=1024) as bar:
                for name, entry in missing.items():
                    _unpack_one(archive, entry, folder / name)
                    bar.update(entry.file_size)
    except (BadZipFile, EOFError, RuntimeError, zlib.error) as error:  # the errors that zipfile raises for damaged data
        file.unlink()
        raise DataError(f'{file} is damaged ({reason(error)}) and was deleted. The next run downloads it again. If it '
                        'is damaged again, choose another server with --url') from error


def _unpack_one(archive: ZipFile, entry: ZipInfo, target: Path) -> None:
    part = target.with_name(target.name + UNFINISHED)
    try:
        with archive.open(entry) as packed, part.open('wb') as opened:
            shutil.copyfileobj(packed, opened, CHUNK)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(target)


def _entries(archive: ZipFile, folder: str) -> dict[str, ZipInfo]:
    """Return file name -> entry for the files directly in `folder`.

    Raises:
        BadZipFile: an entry leads out of the folder.
    """
    entries = {}
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or '..' in path.parts or '\\' in entry.filename:
            raise BadZipFile(f'the entry {entry.filename!r} leads out of the folder')
        if path.parent == PurePosixPath(folder) and not entry.is_dir():
            entries[path.name] = entry
    return entries


def _file_of(split: str) -> str:
    return f'instances_{split}.json'


def _sizes(folder: Path) -> dict[str, int]:
    """Return file name -> bytes; empty if there is no such folder."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def _described(wrong: dict[str, str]) -> str:
    return shorten([f'{name} {what}' for name, what in wrong.items()])
