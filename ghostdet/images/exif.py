"""The EXIF orientation of images: the one place that decides how pixels are turned.

An image is upright if its EXIF orientation is applied. Without that, its pixels are as they lie in the file.
"""
import io
import struct
from typing import Any

import numpy as np
from PIL import Image

ORIENTATION = 0x0112  # EXIF tag: 1 is upright, 2 to 4 are turned by 180 degrees or mirrored, 5 to 8 by 90 degrees
PNG = b'\x89PNG\r\n\x1a\n'  # first bytes of a file


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8: how its pixels must be turned; 1 if there is none."""
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
    except Exception:  # noqa: BLE001  (damaged EXIF data raises many types of errors; the image itself is good)
        return 1
    return value if value in range(1, 9) else 1


def _late_exif(file: Any) -> Image.Exif:
    """Return the EXIF data that follows the pixels of a PNG, which are skipped."""
    exif, start = Image.Exif(), file.tell()
    file.seek(len(PNG))
    while len(head := file.read(8)) == 8 and head[4:] != b'IEND':
        length = struct.unpack('>I', head[:4])[0]
        if head[4:] == b'eXIf':
            exif.load(file.read(length))
            break
        file.seek(length + 4, io.SEEK_CUR)
    file.seek(start)
    return exif


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and height of an opened image as its pixels lie in the file."""
    swapped = image.format == 'TIFF' and orientation(image) >= 5  # Pillow has turned the size already
    return image.size[::-1] if swapped else image.size


def oriented(pixels: np.ndarray, kind: str | None, turn: int, upright: bool) -> np.ndarray:
    """Return decoded pixels (H, W, C) with the EXIF orientation applied if `upright`, else as they lie in the file.

    Args:
        kind: Pillow's name of the file's format. Pillow and OpenCV turn a TIFF while they decode it.
        turn: EXIF orientation, 1 to 8.
    """
    if kind == 'TIFF':
        return pixels if upright else turned(pixels, turn, back=True)
    return turned(pixels, turn) if upright else pixels


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
