"""Images from bytes to pixels: the same in training, in evaluation and on a machine without PyTorch."""
import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ghostdet.errors import DataError, ImageError, reason
from ghostdet.files import write_whole
from ghostdet.opencv import cv2

JPEG = b'\xff\xd8\xff'  # how one begins
# How a JPEG and a PNG begin, and how whole ones end.
WHOLE = ((JPEG, b'\xff\xd9'), (b'\x89PNG', b'IEND\xaeB`\x82'))
# By how much a JPEG can be smaller as it comes out of the decoder, which then computes fewer pixels.
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2, 1: cv2.IMREAD_COLOR}
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif', '.ppm', '.pgm', '.jp2')
Target = Callable[[int, int], tuple[int, int]]  # width and height of an image -> those that it is resized to


def check_whole(content: bytes) -> None:
    """Refuse the file of an image that was cut off, of which OpenCV makes a picture with a grey rest.

    Raises:
        ValueError: it is empty, or no image.
        Exception: of Pillow's many kinds, where it is not whole.
    """
    if not content:
        raise ValueError('the file is empty')
    # Other formats, trailing bytes or a cut: Pillow's decoder tells them apart.
    if not any(content.startswith(begin) and content.endswith(end) for begin, end in WHOLE):
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        except UnidentifiedImageError:
            raise ValueError('it is no image') from None


def decode(content: bytes, target: Target | None = None) -> tuple[np.ndarray, int]:
    """Pixels (H, W, 3) of a file, blue first, 8 bits each, turned as its camera says; and how many times smaller they are.

    Args:
        target: what the image will be resized to, so that a JPEG need not be decoded at a larger size than that.

    Raises:
        ValueError: OpenCV cannot decode it.
    """
    times = 1 if target is None else reduction(content, target)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), REDUCED[times])
    if image is None:
        raise ValueError('OpenCV cannot decode it')
    return image, times


def reduction(content: bytes, target: Target) -> int:
    """How many times smaller than in its file an image may be decoded: its sides divide, and it is still large enough."""
    if not content.startswith(JPEG):
        return 1
    try:
        with Image.open(io.BytesIO(content)) as image:
            sides = image.size
    except Image.DecompressionBombError:  # Pillow opens no image of more pixels; OpenCV reads it
        return 1
    # The decoder turns the image as its camera says; so it has to be large enough lying and standing.
    return next(times for times in REDUCED if times == 1 or all(
        side % times == 0 and times * wanted <= side
        for size in (sides, sides[::-1]) for side, wanted in zip(size, target(*size))))


def image_files(folder: Path) -> list[Path]:
    """All images in a folder and the folders in it, by the endings of their names, sorted."""
    return sorted(path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES and not path.is_dir())


def picture_name(name: str) -> str:
    """The name under which a picture of the image `name` is written: formats that not everybody writes get an ending more.

    >>> picture_name('a/b.JPG'), picture_name('a/b.webp')
    ('a/b.JPG', 'a/b.webp.png')
    """
    return name if name.lower().endswith(('.jpg', '.jpeg', '.png')) else f'{name}.png'


def write(picture: np.ndarray, file: Path) -> None:
    """Write pixels (H, W, 3), red first, as the ending of the name says; a folder that is not there yet is made.

    Raises:
        ImageError: its format cannot have so many pixels in a row or column.
        OSError: it cannot be written.
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
    """Within this, whatever fails is told as a fault of the image in `file`.

    Raises:
        DataError: something failed.
    """
    try:
        yield file
    except Exception as error:  # decoders raise many kinds for a damaged file; each means the same here
        raise DataError(f'the image {file} cannot be read to its end ({reason(error)}). Copy or download '
                        'it again, or remove it, and its record in an annotation file.') from error
