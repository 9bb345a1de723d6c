"""The size of a resized image: one rule for training, evaluation, exported files and drawn images."""
from collections.abc import Sequence


def fitted(width: int, height: int, box: Sequence[int], enlarge: bool = True) -> tuple[int, int]:
    """Return width and height, in pixels, of an image that is resized to fit into a box and keeps its aspect ratio.

    It rounds as `mmcv.rescale_size` does, but no side is 0.

    Args:
        box: width and height in pixels.
        enlarge: False: an image that is smaller than the box keeps its size.

    >>> fitted(640, 480, (320, 320)), fitted(64, 48, (320, 320), enlarge=False), fitted(4000, 3, (320, 320))
    ((320, 240), (64, 48), (320, 1))
    """
    factor = min(box[0] / width, box[1] / height)
    factor = factor if enlarge else min(1, factor)
    return max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5))


def rescaled(width: int, height: int, scale: tuple[int, int], keep_ratio: bool = True) -> tuple[int, int]:
    """Return width and height, in pixels, of an image after mmdet's `Resize`.

    Args:
        scale: with `keep_ratio`, the image is resized to fit into these two sides, in landscape or portrait format.
            Otherwise it gets exactly this width and height.

    >>> rescaled(640, 480, (1333, 800)), rescaled(480, 640, (1333, 800)), rescaled(640, 480, (64, 32), False)
    ((1067, 800), (800, 1067), (64, 32))
    """
    if not keep_ratio:
        return scale
    long, short = max(scale), min(scale)
    return fitted(width, height, (long, short) if width >= height else (short, long))
