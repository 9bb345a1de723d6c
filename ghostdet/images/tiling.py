"""Where the tiles of a large image lie: the same for cutting data and for detecting. Needs no other package."""
import math
from collections.abc import Iterable

QUANTILE = 0.95  # fraction of the objects that the overlap of two tiles is large enough for
MIN_OVERLAP, MAX_OVERLAP = 0.1, 0.5  # fractions of a tile

Tile = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def tile_corners(length: int, size: int, overlap: int) -> list[int]:
    """Return where the tiles on one axis of an image begin: evenly spaced, the first at 0, the last at the far border.

    Any stretch of at most `overlap` pixels is whole in a tile.

    Args:
        length: pixels of the image on this axis.
        size: pixels of a tile; an image of at most as many is one tile.
        overlap: pixels that neighbours share at least.

    Raises:
        ValueError: the overlap is negative or not smaller than the tile.

    >>> tile_corners(1000, 416, 83)
    [0, 292, 584]
    """
    if not 0 <= overlap < size:
        raise ValueError(f'an overlap of {overlap} pixels does not fit tiles of {size}')
    steps = math.ceil((length - size) / (size - overlap)) if length > size else 0
    return [(length - size) * step // steps for step in range(steps + 1)] if steps else [0]


def tiles_of(width: int, height: int, size: int, overlap: int) -> list[Tile]:
    """Return the tiles that cover an image, row by row, each once. A side of less than `size` pixels is not divided.

    Args:
        width, height: pixels of the image.
        size, overlap: as in `tile_corners`.

    Raises:
        ValueError: the overlap is negative or not smaller than the tile.
    """
    lefts = tile_corners(width, size, overlap)
    return [(left, top, min(left + size, width), min(top + size, height))
            for top in tile_corners(height, size, overlap) for left in lefts]


def suitable_overlap(sides: Iterable[float], size: int) -> int:
    """Return an overlap in pixels that has room for nearly all objects, from a tenth to half of a tile.

    Args:
        sides: the longer side of each box in pixels.
        size: pixels of a tile.
    """
    ordered = sorted(sides)
    usual = ordered[math.ceil(QUANTILE * len(ordered)) - 1] if ordered else 0
    return min(max(math.ceil(usual), math.ceil(MIN_OVERLAP * size)), int(MAX_OVERLAP * size))
