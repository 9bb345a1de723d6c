"""Read and write images: the same code for training, for evaluation and on machines without PyTorch."""
import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ghostdet.errors import DataError, ImageError, reason
from ghostdet.files import write_whole
from ghostdet.opencv import cv2

JPEG = b'\xff\xd8\xff'  # first bytes of a JPEG
# First and last bytes of a complete JPEG and of a complete PNG.
WHOLE = ((JPEG, b'\xff\xd9'), (b'\x89PNG', b'IEND\xaeB`\x82'))
# Factors by which OpenCV can shrink a JPEG while it decodes; it then computes fewer pixels.
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2, 1: cv2.IMREAD_COLOR}
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif', '.ppm', '.pgm', '.jp2')
Target = Callable[[int, int], tuple[int, int]]  # width and height of an image -> width and height after the resize


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
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        except UnidentifiedImageError:
            raise ValueError('it is not an image') from None


def decode(content: bytes, target: Target | None = None) -> tuple[np.ndarray, int]:
    """Return the BGR pixels (H, W, 3) uint8 of an image file, upright as EXIF says, and the factor by which they are reduced.

    Args:
        target: the size that the image will be resized to. A large JPEG is then decoded at a reduced size, which is faster.

    Raises:
        ValueError: OpenCV cannot decode it.
    """
    times = 1 if target is None else reduction(content, target)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), REDUCED[times])
    if image is None:
        raise ValueError('OpenCV cannot decode it')
    return image, times


def reduction(content: bytes, target: Target) -> int:
    """Return the factor by which an image can be reduced while it is decoded: 8, 4 or 2 for a JPEG, else 1.

    The factor divides both sides, and the reduced image is at least as large as `target`.
    """
    if not content.startswith(JPEG):
        return 1
    try:
        with Image.open(io.BytesIO(content)) as image:
            sides = image.size
    except Image.DecompressionBombError:  # Pillow refuses images with this many pixels; OpenCV reads them
        return 1
    # The decoder may rotate the image by 90 degrees (EXIF), so it must be large enough in both orientations.
    return next(times for times in REDUCED if times == 1 or all(
        side % times == 0 and times * wanted <= side
        for size in (sides, sides[::-1]) for side, wanted in zip(size, target(*size))))


def image_files(folder: Path) -> list[Path]:
    """Return all images in a folder and its subfolders, sorted. Images are recognized by their file extension."""
    return sorted(path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES and not path.is_dir())


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
        raise ImageError(f'{file} cannot be written: {picture.shape[1]}x{picture.shape[0]} pixels are too many for its format')
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
        raise DataError(f'the image {file} cannot be read ({reason(error)}). Copy or download it again, or remove it and its '
                        'record in the annotation file.') from error
