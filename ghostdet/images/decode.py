"""Read and write images: the same code for training, for evaluation and on machines without PyTorch.

Decoded pixels are upright (see `ghostdet.images.exif`) and have 8 bits (see `eight_bits`). A depth, called `bits`, is
the number of bits that pixels of more than 8 bits use: 12 for a camera of 12 bits that writes files of 16.
"""
import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ghostdet.errors import DataError, ImageError, UserError, reason
from ghostdet.files import write_whole
from ghostdet.images.exif import PNG, orientation, oriented
from ghostdet.images.listing import plugins
from ghostdet.images.opencv import cv2

JPEG = b'\xff\xd8\xff'  # first bytes of a file
# First and last bytes of a complete JPEG and of a complete PNG.
WHOLE = ((JPEG, b'\xff\xd9'), (PNG, b'IEND\xaeB`\x82'))
# Factors by which OpenCV can shrink a JPEG while it decodes; it then computes fewer pixels.
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2,
           1: cv2.IMREAD_COLOR}
FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
DEEP = ('I', 'F')  # Pillow's modes of 32 bits, which may hold values that are no pixels
Target = Callable[[int, int], tuple[int, int]]  # width and height of an image -> width and height after the resize
_limit = Lock()
warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)  # large images are usual here


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
        return 'it is a HEIC image, which needs a plugin: pip install pillow-heif'
    if content.startswith((b'\xff\x0a', b'\0\0\0\x0cJXL ')):
        return 'it is a JPEG XL image, which needs a plugin: pip install pillow-jxl-plugin'
    return 'it is not an image'


# --------------------------------------------------------------------------------------------------------------- pixels

def decode(content: bytes, target: Target | None = None, upright: bool = True,
           bits: int | None = None) -> tuple[np.ndarray, int]:
    """Return the BGR pixels (H, W, 3) uint8 of an image file, and the factor by which they are reduced.

    Args:
        target: the size that the image will be resized to. A large JPEG is then decoded at a reduced size, which is
            faster.
        upright: apply the EXIF orientation; else the pixels are as they lie in the file.
        bits: as in `eight_bits`.

    Raises:
        ValueError: nothing installed here can decode it, or it has values that are no pixels.
    """
    with open_image(io.BytesIO(content)) as image:
        turn, kind, is_deep = orientation(image), image.format, image.mode in DEEP
        times = 1 if target is None or kind not in ('JPEG', 'MPO') else _reduction(image.size, target)
    pixels = None if is_deep else cv2.imdecode(np.frombuffer(content, np.uint8), REDUCED[times] | FLAGS)
    pixels = pixels_of(_by_pillow(content), bits) if pixels is None else eight_bits(pixels, bits)
    return oriented(pixels, kind, turn, upright), times


def bits_used(content: bytes) -> int:
    """Return how many bits the pixels of an image file use; 0 if they have no more than 8, or are floats.

    Raises:
        ValueError: nothing installed here can decode it.
    """
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | FLAGS)
    if pixels is None or pixels.dtype.kind == 'f':
        pixels = np.asarray(_by_pillow(content))
    return 0 if pixels.dtype == np.uint8 or pixels.dtype.kind not in 'iu' else int(pixels.max()).bit_length()


def _by_pillow(content: bytes) -> Image.Image:
    try:
        with open_image(io.BytesIO(content)) as image:
            image.load()
    except Exception:  # noqa: BLE001  (Pillow raises many types of errors for a damaged file)
        raise ValueError('OpenCV and Pillow cannot decode it') from None
    return image


def pixels_of(image: Image.Image, bits: int | None = None) -> np.ndarray:
    """Return the BGR pixels (H, W, 3) uint8 of a Pillow image, not turned.

    Args:
        bits: as in `eight_bits`.

    Raises:
        ValueError: it has values that are no pixels.
    """
    if image.mode.startswith(('I', 'F')):  # more than 8 bits: Pillow would clip them
        return cv2.cvtColor(eight_bits(np.asarray(image), bits), cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(np.asarray(image.convert('RGB')), cv2.COLOR_RGB2BGR)


def eight_bits(pixels: np.ndarray, bits: int | None = None) -> np.ndarray:
    """Return pixels of any type as uint8.

    The 8 highest of `bits` bits count: an image of 12 bits in 16 is divided by 16, not by 256. Floats from 0 to 1 are
    multiplied by 255; larger floats are read as whole numbers, each image by the bits that it uses.

    Args:
        bits: depth of whole numbers of more than 8 bits, to which larger ones are clipped; None: as many bits as the
            image uses.

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
    depth = int(high).bit_length() if bits is None or pixels.dtype.kind == 'f' else bits
    clipped = np.minimum(pixels, 2 ** depth - 1).astype(np.uint16)
    return (clipped >> max(0, depth - 8)).astype(np.uint8)


def check_bits(bits: Any) -> None:
    """Check a depth that was named.

    Raises:
        UserError: it is no number from 8 to 16, and not None.
    """
    if bits is not None and not (type(bits) is int and 8 <= bits <= 16):
        raise UserError(f'--bits {bits}: expected a number from 8 to 16')


def _reduction(size: tuple[int, int], target: Target) -> int:
    """Return the factor by which a JPEG can be reduced while it is decoded: 8, 4, 2 or 1.

    The factor divides both sides, and the reduced image is at least as large as `target`.
    """
    # The image may be turned by 90 degrees later, so it must be large enough in both orientations.
    return next(times for times in REDUCED if times == 1 or all(
        side % times == 0 and times * wanted <= side
        for size in (size, size[::-1]) for side, wanted in zip(size, target(*size))))


# ---------------------------------------------------------------------------------------------------------------- files

def write(image: np.ndarray, file: Path) -> None:
    """Write RGB pixels (H, W, 3) in the format of the file's extension. Creates the folder if needed.

    Raises:
        ImageError: the format does not allow so many pixels in a row or column.
        OSError: the file cannot be written.
    """
    try:
        done, content = cv2.imencode(file.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise ImageError(f'{file} cannot be written: {image.shape[1]}x{image.shape[0]} pixels are too many for its '
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
    except ImageError as error:
        raise DataError(f'the image {file} {error}') from None
    except Exception as error:  # decoders raise many types of errors for a damaged file
        raise DataError(f'the image {file} cannot be read ({reason(error)}). Copy or download it again, or remove it '
                        'and its record in the annotation file.') from error
