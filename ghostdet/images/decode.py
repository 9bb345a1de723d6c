"""Read and write images: the same code for training, for evaluation and on machines without PyTorch.

A picture is upright as its EXIF orientation says, unless that is ignored. It has 8 bits: see `eight_bits`.
"""
import contextlib
import io
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ghostdet.errors import DataError, ImageError, reason
from ghostdet.files import write_whole
from ghostdet.images.opencv import cv2

JPEG, PNG = b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'  # first bytes of a file
# First and last bytes of a complete JPEG and of a complete PNG.
WHOLE = ((JPEG, b'\xff\xd9'), (PNG, b'IEND\xaeB`\x82'))
# Factors by which OpenCV can shrink a JPEG while it decodes; it then computes fewer pixels.
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2,
           1: cv2.IMREAD_COLOR}
FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.webp', '.tif', '.tiff', '.gif', '.ppm', '.pgm',
            '.pbm', '.pnm', '.jp2', '.avif')
# Suffixes of pictures that Pillow reads with a plugin, and the plugin's package.
PLUGINS = {'.heic': 'pillow-heif', '.heif': 'pillow-heif', '.hif': 'pillow-heif', '.jxl': 'pillow-jxl-plugin'}
# Pictures that nothing here reads. They are named, so that nobody misses them in the results.
OTHERS = ('.cr2', '.cr3', '.nef', '.arw', '.dng', '.raf', '.orf', '.rw2', '.psd', '.svg', '.exr', '.hdr')
PICTURE_SUFFIXES = (*SUFFIXES, *PLUGINS, *OTHERS)
ORIENTATION = 0x0112  # EXIF tag: 1 is upright, 2 to 4 are turned by 180 degrees or mirrored, 5 to 8 by 90 degrees
# Formats whose pixels need no look: if the header is right, the file opens, unless it is damaged.
COMMON = ('JPEG', 'MPO', 'PNG', 'WEBP', 'TIFF', 'BMP', 'DIB', 'GIF', 'PPM', 'JPEG2000', 'AVIF', 'HEIF')
DEEP = ('I', 'F')  # Pillow's modes of 32 bits, which may hold values that are no pixels
Target = Callable[[int, int], tuple[int, int]]  # width and height of an image -> width and height after the resize
_limit = Lock()
warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)  # large pictures are usual here


@dataclass(frozen=True)
class Header:
    """What a file says of its picture: stored width and height in pixels, and the EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int = 1

    def size(self, upright: bool = True) -> tuple[int, int]:
        """Return width and height: of the upright picture, or as the pixels lie in the file."""
        turned = upright and self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def read_header(file: str | Path) -> Header:
    """Return the size and the orientation of an image file. Decodes it only if its format or its type of pixel is rare.

    Raises:
        Exception: the file is not a picture that can be read; the type depends on the decoder.
    """
    check_format(file)
    with open_image(file) as image:
        turn, (width, height) = orientation(image), image.size
        common = image.format in COMMON and image.mode not in DEEP
        if image.format == 'TIFF' and turn >= 5:  # Pillow has turned the size already
            width, height = height, width
    if not common:
        decode(Path(file).read_bytes())
    return Header(width, height, turn)


def check_format(file: str | Path) -> None:
    """Refuse a file whose suffix names a format that is not read. A camera's raw file may open, as its small preview.

    Raises:
        ValueError: it does.
    """
    if Path(file).suffix.lower() in OTHERS:
        raise ValueError(f'files of type {Path(file).suffix} are not read: convert it to JPEG or PNG')


def open_image(source: str | Path | BinaryIO) -> Image.Image:
    """Open an image with Pillow, also with its plugins, and if it is larger than Pillow's limit.

    Raises:
        ValueError: Pillow does not know the format.
    """
    try:
        return Image.open(source)
    except Image.DecompressionBombError:  # OpenCV reads such images
        with _limit:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(source)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        if plugins():
            with contextlib.suppress(UnidentifiedImageError):
                return Image.open(source)
        raise ValueError(_unknown(source)) from None


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8: how its stored pixels must be turned; 1 if absent."""
    file = getattr(image, 'fp', None)  # None once the pixels are loaded
    try:
        exif = Image.Exif()
        if image.format == 'TIFF':
            exif = image.getexif()
        elif 'exif' in image.info:  # not by getexif, which also takes an orientation from XMP data
            exif.load(image.info['exif'])
        elif image.format == 'PNG' and file is not None:
            exif = _late_exif(file)
        value = exif.get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001  (damaged EXIF data raises many types of errors; the picture itself is good)
        return 1
    return value if value in range(1, 9) else 1


def _late_exif(file: Any) -> Image.Exif:
    """Return the EXIF data that follows the pixels of a PNG, which are skipped."""
    exif, place = Image.Exif(), file.tell()
    file.seek(len(PNG))
    while len(head := file.read(8)) == 8 and head[4:] != b'IEND':
        length = struct.unpack('>I', head[:4])[0]
        if head[4:] == b'eXIf':
            exif.load(file.read(length))
            break
        file.seek(length + 4, io.SEEK_CUR)
    file.seek(place)
    return exif


@cache
def plugins() -> frozenset[str]:
    """Load the plugins of Pillow that are installed, and return their packages."""
    found = set()
    for package, module in (('pillow-heif', 'pillow_heif'), ('pillow-jxl-plugin', 'pillow_jxl')):
        with contextlib.suppress(ImportError):
            loaded = import_module(module)  # the second registers itself
            if package == 'pillow-heif':
                loaded.register_heif_opener()
            found.add(package)
    return frozenset(found)


def check_whole(content: bytes) -> None:
    """Check that an image file is complete. OpenCV decodes a truncated one without an error and leaves the rest grey.

    Raises:
        ValueError: the file is empty or not an image.
        Exception: the file is truncated or damaged; the type is one of Pillow's.
    """
    if not content:
        raise ValueError('the file is empty')
    # Another format, trailing bytes or a truncated file: Pillow's decoder finds out which.
    if not any(content.startswith(begin) and content.endswith(end) for begin, end in WHOLE):
        with open_image(io.BytesIO(content)) as image:
            image.load()


def _unknown(source: str | Path | BinaryIO) -> str:
    """Return what to say of a file that Pillow does not know."""
    if isinstance(source, (str, Path)):
        with Path(source).open('rb') as opened:
            return _unknown(opened)
    source.seek(0)
    content = source.read(12)
    if content[4:8] == b'ftyp' and content[8:12] in (b'heic', b'heix', b'hevc', b'mif1', b'msf1'):
        return 'it is a HEIC picture, which needs a plugin: pip install pillow-heif'
    if content.startswith((b'\xff\x0a', b'\0\0\0\x0cJXL ')):
        return 'it is a JPEG XL picture, which needs a plugin: pip install pillow-jxl-plugin'
    return 'it is not an image'


# --------------------------------------------------------------------------------------------------------------- pixels

def decode(content: bytes, target: Target | None = None, upright: bool = True) -> tuple[np.ndarray, int]:
    """Return the BGR pixels (H, W, 3) uint8 of an image file, and the factor by which they are reduced.

    Args:
        target: the size that the image will be resized to. A large JPEG is then decoded at a reduced size, which is
            faster.
        upright: turn the picture as EXIF says; else the pixels are as they lie in the file.

    Raises:
        ValueError: nothing installed here can decode it, or it has values that are no pixels.
    """
    with open_image(io.BytesIO(content)) as image:
        turn, is_tiff, is_deep = orientation(image), image.format == 'TIFF', image.mode in DEEP
        times = 1 if target is None or image.format not in ('JPEG', 'MPO') else _reduction(image.size, target)
    # OpenCV turns some formats and not others. It cannot leave a TIFF as it is.
    pixels = None if is_deep else cv2.imdecode(np.frombuffer(content, np.uint8), REDUCED[times] | FLAGS)
    pixels = _by_pillow(content) if pixels is None else eight_bits(pixels)
    if is_tiff:
        return pixels if upright else turned(pixels, turn, back=True), times
    return turned(pixels, turn) if upright else pixels, times


def _by_pillow(content: bytes) -> np.ndarray:
    try:
        with open_image(io.BytesIO(content)) as image:
            image.load()
    except Exception:  # noqa: BLE001  (Pillow raises many types of errors for a damaged file)
        raise ValueError('OpenCV and Pillow cannot decode it') from None
    return pixels_of(image)


def pixels_of(image: Image.Image) -> np.ndarray:
    """Return the BGR pixels (H, W, 3) uint8 of a Pillow image, not turned.

    Raises:
        ValueError: it has values that are no pixels.
    """
    if image.mode.startswith(('I', 'F')):  # more than 8 bits: Pillow would clip them
        return cv2.cvtColor(eight_bits(np.asarray(image)), cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(np.asarray(image.convert('RGB')), cv2.COLOR_RGB2BGR)


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Return pixels of any type as uint8.

    The 8 highest bits that the picture uses count: a picture of 12 bits in 16 is divided by 16, not by 256. Floats from
    0 to 1 are multiplied by 255; larger floats are read as whole numbers.

    Raises:
        ValueError: a value is negative, above 65535, NaN or infinite.
    """
    if pixels.dtype == np.uint8 or not pixels.size:
        return pixels
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high < 2 ** 16):  # NaN is neither
        raise ValueError(f'it has values from {low} to {high}; pixels are from 0 to 65535')
    if pixels.dtype.kind == 'f' and high <= 1:
        return np.rint(pixels * 255).astype(np.uint8)
    return (pixels.astype(np.uint16) >> max(0, int(high).bit_length() - 8)).astype(np.uint8)


def turned(pixels: np.ndarray, turn: int, back: bool = False) -> np.ndarray:
    """Return pixels (H, W, C) turned from how they lie in a file to upright.

    Args:
        turn: EXIF orientation, 1 to 8.
        back: turn upright pixels to how they lie in the file.
    """
    if back and turn in (6, 8):  # all others undo themselves
        turn = 14 - turn
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows, columns = turn in (3, 4, 7, 8), turn in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[::-1 if rows else 1, ::-1 if columns else 1])


def _reduction(size: tuple[int, int], target: Target) -> int:
    """Return the factor by which a JPEG can be reduced while it is decoded: 8, 4, 2 or 1.

    The factor divides both sides, and the reduced image is at least as large as `target`.
    """
    # The picture may be turned by 90 degrees later, so it must be large enough in both orientations.
    return next(times for times in REDUCED if times == 1 or all(
        side % times == 0 and times * wanted <= side
        for size in (size, size[::-1]) for side, wanted in zip(size, target(*size))))


# ---------------------------------------------------------------------------------------------------------------- files

def suffixes() -> tuple[str, ...]:
    """Return the suffixes of picture files that can be read here."""
    return SUFFIXES + tuple(suffix for suffix, package in PLUGINS.items() if package in plugins())


def image_files(folder: Path, unread: bool = False) -> list[Path]:
    """Return all images in a folder and its subfolders, by suffix, sorted, without hidden files and folders.

    Args:
        unread: also return images in formats that cannot be read here.
    """
    wanted = PICTURE_SUFFIXES if unread else suffixes()
    found = (path for path in folder.rglob('*') if path.suffix.lower() in wanted and not path.is_dir())
    return sorted(path for path in found if not any(part.startswith('.') for part in path.relative_to(folder).parts))


def picture_name(name: str) -> str:
    """Return the file name for a picture of the image `name`: JPEG and PNG keep their name, others get `.png` appended.

    >>> picture_name('a/b.JPG'), picture_name('a/b.webp')
    ('a/b.JPG', 'a/b.webp.png')
    """
    return name if name.lower().endswith(('.jpg', '.jpeg', '.png')) else f'{name}.png'


def write(picture: np.ndarray, file: Path) -> None:
    """Write RGB pixels (H, W, 3) in the format of the file's extension. Creates the folder if needed.

    Raises:
        ImageError: the format does not allow so many pixels in a row or column.
        OSError: the file cannot be written.
    """
    try:
        done, content = cv2.imencode(file.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise ImageError(f'{file} cannot be written: {picture.shape[1]}x{picture.shape[0]} pixels are too many for its '
                         'format')
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content.tobytes())


@contextlib.contextmanager
def naming(file: str | Path) -> Iterator[str | Path]:
    """Turn any error inside the `with` block into a DataError that names the image `file`.

    Raises:
        DataError: an error occurred in the block.
    """
    try:
        yield file
    except Exception as error:  # decoders raise many types of errors for a damaged file
        raise DataError(f'the image {file} cannot be read ({reason(error)}). Copy or download it again, or remove it '
                        'and its record in the annotation file.') from error
