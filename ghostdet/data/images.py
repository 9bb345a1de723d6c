"""Images from bytes to pixels: the same in training, in evaluation and on a machine without PyTorch."""
import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

JPEG = b'\xff\xd8\xff'  # how one begins
# How a whole JPEG and a whole PNG end.
ENDINGS = (b'\xff\xd9', b'IEND\xaeB`\x82')
# By how much a JPEG can be smaller as it comes out of the decoder, which then computes fewer pixels.
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2, 1: cv2.IMREAD_COLOR}
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif', '.ppm', '.pgm', '.jp2')
Target = Callable[[int, int], tuple[int, int]]  # width and height of an image -> those that it is resized to


def check_whole(content: bytes) -> None:
    """Refuse the file of an image that was cut off, of which OpenCV makes a picture with a grey rest.

    Raises:
        Exception: of Pillow's many kinds.
    """
    if not content.endswith(ENDINGS):  # other formats, trailing bytes or a cut: Pillow's decoder tells them apart
        with Image.open(io.BytesIO(content)) as image:
            image.load()


def decode(content: bytes, target: Target | None = None) -> tuple[np.ndarray, int]:
    """Pixels (H, W, 3) of a file, blue first, 8 bits each, turned as its camera says; and how many times smaller they are.

    Args:
        target: what the image will be resized to, so that a JPEG need not be decoded at a larger size than that.

    Raises:
        ValueError: OpenCV cannot decode it.
    """
    times = 1 if target is None else reduction(content, target)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), REDUCED[times]) if content else None
    if image is None:
        raise ValueError('it is no image that OpenCV can decode' if content else 'the file is empty')
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
    return sorted(path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES and path.is_file())
