"""Find objects in large pictures tile by tile. An object that lies across a border of tiles is one object."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from ghostdet.errors import UserError
from ghostdet.images.decode import check_whole, decode
from ghostdet.images.tiling import Tile, suitable_overlap, tiles_of
from ghostdet.infer.detections import Detections
from ghostdet.infer.engine import Engine
from ghostdet.infer.ordered import grouped, ordered
from ghostdet.messages import LOGGER
from ghostdet.options import DEFAULT_THRESHOLD, worded_for_python
from ghostdet.progress import progress

MANY = 100  # tiles of a picture, from which on their progress is shown
SAME = 0.5  # IoU, within what two tiles both see, from which on two boxes are one object
INSIDE = 0.9  # fraction of a box that a tile has to contain, to see more of it than another tile
NEAR = 0.01  # fraction of a tile's side: a box that ends so close to a border is taken as cut there


@dataclass(frozen=True)
class Tiles:
    """How large pictures are cut.

    Args:
        size: side of a tile in pixels; None: that of the images that the detector was trained on, or of its input if
            they are not known.
        overlap: pixels that neighbouring tiles share at least; None: enough for 95% of the boxes that the detector was
            trained on, or a quarter of a tile if they are not known. An object of at most this size is whole in a tile.
        whole: also look at the whole picture, for objects that are larger than the overlap.

    Raises:
        UserError: `size` or `overlap` is out of range.
    """

    size: int | None = None
    overlap: int | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        with worded_for_python():
            if self.size is not None and not (isinstance(self.size, int) and self.size > 1):
                raise UserError(f'--tiles {self.size}: expected the side of a tile in pixels, such as 416')
            if self.overlap is not None and not (isinstance(self.overlap, int) and self.overlap > 0):
                raise UserError(f'--tile-overlap {self.overlap}: expected at least 1 pixel')

    @classmethod
    def chosen(cls, tiles: bool | int, overlap: int | None, whole: bool) -> 'Tiles | bool':
        """Return what a user chose with `--tiles`: a side in pixels, True for a fitting one, False for no tiles.

        Raises:
            UserError: `overlap` or `whole` is set, but no tiles are wanted.
        """
        if tiles is False and (overlap is not None or whole):
            raise UserError(f'{"--whole" if whole else "--tile-overlap"} belongs to --tiles: add --tiles')
        return tiles is not False and cls(None if tiles is True else tiles, overlap, whole)

    def fitted(self, known: tuple[int, int] | None, side: int) -> 'Tiles':
        """Return these tiles with a size and an overlap.

        Args:
            known: size and overlap that suit the detector's training images; None: unknown.
            side: of the detector's input in pixels.

        Raises:
            UserError: the overlap is not smaller than the tile.
        """
        size = self.size or (known[0] if known else side)
        overlap = self.overlap or (suitable_overlap([known[1]], size) if known else max(1, size // 4))
        if overlap >= size:
            raise UserError(f'--tile-overlap {overlap}: expected fewer pixels than a tile has, {size}')
        return Tiles(size, overlap, self.whole)


class TiledEngine:
    """Runs a detector on each tile of a picture, and joins the boxes.

    The picture is in memory as a whole, with 3 bytes a pixel; of its tiles a few at a time.

    Args:
        engine: the detector for one tile.
        tiles: how to cut pictures.
    """

    batch, requests, workers = 1, 1, 2  # a picture is read or drawn while the tiles of another one are in the network
    max_objects: int | None = None

    def __init__(self, engine: Engine, tiles: Tiles) -> None:
        self.engine, self.tiles = engine, tiles.fitted(engine.tile, engine.side)
        self.classes, self.upright, self.bits = engine.classes, engine.upright, engine.bits
        self.thresholds, self.tile, self.side = engine.thresholds, engine.tile, engine.side
        self.has_warned = False

    def prepare(self, image: bytes | np.ndarray) -> np.ndarray:
        """Return BGR pixels (H, W, 3) uint8 of an image: the bytes of its file, or such pixels."""
        if isinstance(image, bytes):
            check_whole(image)
            return decode(image, upright=self.upright, bits=self.bits)[0]
        return image

    def run(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return all objects in each picture."""
        return [self._picture(image) for image in images]

    def _picture(self, pixels: np.ndarray) -> Detections:
        height, width = pixels.shape[:2]
        tiles = tiles_of(width, height, self.tiles.size or 0, self.tiles.overlap or 0)
        whole: list[Tile] = [(0, 0, width, height)] if self.tiles.whole and len(tiles) > 1 else []

        def run(group: list[Tile]) -> list[Detections]:
            parts = [self.engine.prepare(np.ascontiguousarray(pixels[top:bottom, left:right]))
                     for left, top, right, bottom in group]
            return [moved(found, tile[:2]) for found, tile in zip(self.engine.run(parts), group)]
        groups = list(grouped([*tiles, *whole], self.engine.batch))
        results = progress(ordered(groups, run, self.engine.workers), 'tiles', len(groups), shown=len(tiles) >= MANY)
        found = [*chain.from_iterable(results)]
        self._warn(found)
        if whole:
            sides = found[-1].boxes[:, 2:] - found[-1].boxes[:, :2]
            found[-1] = found[-1].where(sides.max(axis=1, initial=0) > (self.tiles.overlap or 0))
        return joined(found, [*tiles, *whole], (height, width))

    def _warn(self, found: list[Detections]) -> None:
        """Say it, once, if a tile has as many boxes with a usual score as the detector returns."""
        limit, threshold = self.engine.max_objects, (self.thresholds or {}).get('all', DEFAULT_THRESHOLD)
        if limit and not self.has_warned and any(len(one.above(threshold)) >= limit for one in found):
            self.has_warned = True
            LOGGER.warning(f'a tile has {limit} boxes, the most that this detector returns: there may be more objects. '
                           'Smaller tiles find them')


def moved(detections: Detections, corner: tuple[int, int]) -> Detections:
    """Return detections in a tile with boxes in pixels of the picture; `corner` is the tile's left upper one."""
    return replace(detections, boxes=detections.boxes + np.array(corner * 2, np.float32))


def joined(found: Sequence[Detections], tiles: Sequence[Tile], size: tuple[int, int]) -> Detections:
    """Join the detections of overlapping tiles, so that each object comes once.

    Two boxes of a class from different tiles are one object if they agree within what both tiles see. Boxes of one tile
    are always different objects. Of an object's boxes, the best one that no border cuts stays, else the box around all.
    A cut box is dropped if another tile sees more of it and has no box there.

    Args:
        found: detections in each tile, in pixels of the picture.
        tiles: where they lie.
        size: height and width of the picture.
    """
    parts = _Parts(found, np.array(tiles, np.float32), size)
    kept = [result for group in parts.groups() if (result := parts.object_of(group))]
    kept.sort(key=lambda one: -one[1])
    chosen = [index for _, _, index in kept]
    return Detections(np.array([box for box, _, _ in kept], np.float32).reshape(-1, 4), parts.scores[chosen],
                      parts.labels[chosen], found[0].classes, size)


class _Parts:
    """All boxes of all tiles.

    Args:
        tiles: (T, 4): left, top, right, bottom of each tile in pixels.
        size: height and width of the picture.
    """

    def __init__(self, found: Sequence[Detections], tiles: np.ndarray, size: tuple[int, int]) -> None:
        self.boxes, self.scores, self.labels = (np.concatenate(parts) for parts in zip(
            *((one.boxes.astype(np.float32), one.scores, one.labels) for one in found)))
        self.tiles, self.size = tiles, size
        self.starts = np.cumsum([0, *map(len, found)])  # of the boxes of each tile
        self.owners = np.repeat(np.arange(len(found)), np.diff(self.starts))
        self.cuts = cut_sides(self.boxes, tiles[self.owners], size)
        # Not of the whole picture, which sees less.
        self.is_tile = ~(tiles == np.array((0, 0, *size[::-1]))).all(axis=1)

    def groups(self) -> list[list[int]]:
        """Return the indices of the boxes of each object. Boxes that agree best are joined first."""
        groups = {index: [index] for index in range(len(self.boxes))}
        for _, one, other in sorted(chain.from_iterable(map(self._pairs, range(len(self.tiles)))), reverse=True):
            mine, theirs = groups[one], groups[other]
            if not {*self.owners[mine]} & {*self.owners[theirs]}:  # a tile has an object once
                mine += theirs
                groups.update(dict.fromkeys(theirs, mine))
        return list({id(group): group for group in groups.values()}.values())

    def _pairs(self, first: int) -> list[tuple[float, int, int]]:
        """Return IoU and indices of boxes of the tile `first` and of later ones that are probably one object."""
        shared = clipped(self.tiles[first], self.tiles[first + 1:])
        mine = np.arange(self.starts[first], self.starts[first + 1])
        theirs = np.concatenate([mine[:0], *(np.arange(self.starts[tile], self.starts[tile + 1])
                                             for tile in first + 1 + np.flatnonzero(area(shared)))])
        limits = shared[self.owners[theirs] - first - 1]
        ious = iou(clipped(self.boxes[mine, None], limits), clipped(self.boxes[theirs], limits))
        same = (ious >= SAME) & (self.labels[mine, None] == self.labels[theirs])
        return [(float(ious[row, column]), int(mine[row]), int(theirs[column])) for row, column in np.argwhere(same)]

    def object_of(self, group: list[int]) -> tuple[np.ndarray, float, int] | None:
        """Return box, score and index of an object from its boxes; None if a tile that sees more has no box there."""
        best = max(group, key=lambda index: self.scores[index])
        whole = [index for index in group if not self.cuts[index].any()]
        if whole:
            box = self.boxes[max(whole, key=lambda index: (self.is_tile[self.owners[index]], self.scores[index]))]
            return box, float(self.scores[best]), best
        box = np.concatenate((self.boxes[group, :2].min(axis=0), self.boxes[group, 2:].max(axis=0)))
        others = self.tiles[self.is_tile & ~np.isin(np.arange(len(self.tiles)), self.owners[group])]
        others = others[area(clipped(box, others)) >= INSIDE * area(box)]
        cut = self.cuts[group].all(axis=0)  # the sides on which no tile of the group sees more
        theirs = cut_sides(box, others, self.size)
        if ((theirs <= cut).all(axis=1) & (theirs.sum(axis=1) < cut.sum())).any():
            return None
        return box, float(self.scores[best]), best


def cut_sides(boxes: np.ndarray, tiles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which sides (N, 4) of boxes end at or beyond a border of their tiles that is inside the picture.

    Args:
        boxes: (N, 4), or (4,) for all tiles.
        tiles: (N, 4).
        size: height and width of the picture.
    """
    near = NEAR * np.tile(tiles[:, 2:] - tiles[:, :2], 2)
    limits = np.tile(np.array(size[::-1], np.float32), 2)
    return np.concatenate(((boxes[..., :2] <= (tiles + near)[:, :2]) & (tiles[:, :2] > 0),
                           (boxes[..., 2:] >= (tiles - near)[:, 2:]) & (tiles[:, 2:] < limits[2:])), axis=1)


def clipped(boxes: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return boxes (..., 4), cut at limits (..., 4); an empty one has no area."""
    return np.concatenate((np.maximum(boxes[..., :2], limits[..., :2]), np.minimum(boxes[..., 2:], limits[..., 2:])),
                          axis=-1)


def area(boxes: np.ndarray) -> Any:
    """Return the areas (...) of boxes (..., 4)."""
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1)


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersections over unions (...) of boxes (..., 4)."""
    both = area(clipped(first, second))
    return both / np.maximum(area(first) + area(second) - both, 1e-9)
