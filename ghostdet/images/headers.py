"""Read the headers of many image files, and remember a set without problems."""
import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

from PIL import Image

from ghostdet.errors import reason
from ghostdet.files import cache_file, write_json
from ghostdet.images.decode import DEEP, decode, open_image
from ghostdet.images.exif import orientation, stored_size
from ghostdet.images.listing import check_format
from ghostdet.progress import progress

VERSION = 3  # of what is remembered
MISSING = 'the image file is missing'
# Formats whose pixels need no look: if the header is right, the file opens, unless it is damaged.
UNCLEAR = ('AVIF', 'HEIF', 'JPEG2000', 'PPM')  # formats whose opened images do not tell how many bits they have
COMMON = ('JPEG', 'MPO', 'PNG', 'WEBP', 'TIFF', 'BMP', 'DIB', 'GIF', 'PPM', 'JPEG2000', 'AVIF', 'HEIF')


@dataclass(frozen=True)
class Header:
    """What the header of an image file says.

    Attributes:
        width, height: in pixels, as they lie in the file.
        orientation: of EXIF, 1 to 8.
        may_be_deep: pixels are whole numbers of more than 8 bits; also True if the header does not say it.
    """

    width: int
    height: int
    orientation: int = 1
    may_be_deep: bool = False

    def size(self, upright: bool = True) -> tuple[int, int]:
        """Return width and height: with the EXIF orientation applied if `upright`, else as they lie in the file."""
        swapped = upright and self.orientation >= 5
        return (self.height, self.width) if swapped else (self.width, self.height)


def read_header(file: str | Path) -> Header:
    """Return the size and the orientation of an image file. Decodes it only if its format or its type of pixel is rare.

    Raises:
        Exception: the file is not an image that can be read; the type depends on the decoder.
    """
    check_format(file)
    with open_image(file) as image:
        header = Header(*stored_size(image), orientation(image), _may_be_deep(image))
        common = image.format in COMMON and image.mode not in DEEP
    if not common:
        decode(Path(file).read_bytes())
    return header


def _may_be_deep(image: Image.Image) -> bool:
    """Return whether an opened image may have more than 8 bits. Its mode does not tell: Pillow makes 8 of 16 in RGB."""
    decoders = [tile[3] for tile in getattr(image, 'tile', ())[:1]]  # such as 'RGB;16B'
    raw = [kind[0] if isinstance(kind, tuple) and kind else kind for kind in decoders]
    return image.format in UNCLEAR or image.mode.startswith('I') or any('16' in str(kind) for kind in raw)


def read_headers(folder: Path, names: Sequence[str]) -> tuple[dict[str, Header], dict[str, str]]:
    """Return file name -> header, and file name -> problem for files that are missing or do not open.

    A set without problems is remembered by names, sizes and times, and not opened again.
    """
    stamp, missing = _fingerprint(folder, names)
    memory = cache_file('checked', f'{stamp}.json')
    if not missing:
        with contextlib.suppress(OSError, ValueError, TypeError):  # without a memory the files are read again
            return {name: Header(*header) for name, header in json.loads(memory.read_text()).items()}, {}
    present = [name for name in names if name not in missing]
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        results = pool.map(_read, (os.path.join(folder, name) for name in present))
        read = dict(progress(zip(present, results), f'checking {folder.name}', len(present), leave=True, unit='image'))
    headers = {name: header for name, header in read.items() if isinstance(header, Header)}
    problems = {name: problem for name, problem in read.items() if isinstance(problem, str)}
    problems |= dict.fromkeys(missing, MISSING)
    if not problems:
        with contextlib.suppress(OSError):
            write_json(memory,
                       {name: astuple(header) for name, header in headers.items()})
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
