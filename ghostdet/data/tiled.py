"""Cut the images of a data set into tiles, with their boxes: small objects in large images stay large enough."""
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from ghostdet.data.checked import Checked
from ghostdet.data.copies import CUT_FROM, target_of, write_coco
from ghostdet.data.overview import overview
from ghostdet.errors import DataError, UserError
from ghostdet.images.decode import check_whole, decode, naming
from ghostdet.images.opencv import cv2
from ghostdet.images.tiling import suitable_overlap, tile_corners
from ghostdet.options import LookOptions
from ghostdet.progress import progress

SIDES = (32, 8192)  # pixels: the smallest and the largest tile
MIN_VISIBLE, EMPTY_TILES = 0.3, 0.25  # defaults of the options
REMAINDER = 4  # pixels: of an object, a part with a shorter side shows nothing
LOSSY = ('.jpg', '.jpeg', '.jpe', '.jfif')  # tiles of such images are JPEGs, all others PNGs
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]
Corner = tuple[int, int]  # left and top of a tile in its image, in pixels


@dataclass(frozen=True)
class Cutting:
    """How to cut images into tiles.

    Attributes:
        size: side of a tile in pixels.
        overlap: pixels that neighbours share at least; None: as many as the boxes of the train split need.
        min_visible: fraction of an object's area in a tile, from which on the tile has its box.
        empty: tiles without a box that are kept, as a fraction of those with one.
    """

    size: int
    overlap: int | None = None
    min_visible: float = MIN_VISIBLE
    empty: float = EMPTY_TILES

    @classmethod
    def of(cls, options: LookOptions) -> 'Cutting | None':
        """Return what the options say; None: nothing is cut.

        Raises:
            UserError: they contradict each other, or a value makes no sense.
        """
        size, overlap = options.tiles, options.tile_overlap
        visible, empty = options.min_visible, options.empty_tiles
        named = {'--tile-overlap': overlap, '--min-visible': visible, '--empty-tiles': empty}
        if size is None:
            for name, value in named.items():
                if value is not None:
                    raise UserError(f'{name} {value} is for tiles: add --tiles N')
            return None
        if options.out is None:
            raise UserError(f'--tiles {size}: name the folder for the tiles with --out DIR')
        if not SIDES[0] <= size <= SIDES[1]:
            raise UserError(f'--tiles {size}: expected from {SIDES[0]} to {SIDES[1]} pixels')
        if overlap is not None and not 0 <= overlap < size:
            raise UserError(f'--tile-overlap {overlap}: expected from 0 to {size - 1} pixels, less than a tile')
        if visible is not None and not 0 < visible <= 1:
            raise UserError(f'--min-visible {visible}: expected a fraction above 0, at most 1')
        if empty is not None and not 0 <= empty < float('inf'):
            raise UserError(f'--empty-tiles {empty}: expected 0 or more')
        return cls(size, overlap, MIN_VISIBLE if visible is None else visible, EMPTY_TILES if empty is None else empty)


def usual_tile(content: dict[str, Any]) -> tuple[int, int]:
    """Return the median longer side of the images of a split, and the overlap that tiles of this size need, in pixels.

    A detector that was trained on the split sees objects of a larger image in their usual size, if the image is cut
    into such tiles.
    """
    size = round(median(max(image['width'], image['height']) for image in content['images']))
    return size, overlap_for(content, size)


def overlap_for(content: dict[str, Any], size: int) -> int:
    """Return the overlap in pixels that tiles of `size` need for the boxes of a split."""
    return suitable_overlap((max(box['bbox'][2:]) for box in content['annotations'] if not box.get('iscrowd')), size)


@dataclass(frozen=True)
class CutSplit:
    """The records of a split that was cut.

    Attributes:
        content: COCO content whose images are tiles. Such a record has the file name of its image in `cut_from`, and
            where it begins there, [left, top], in `corner`.
        objects: how many objects are `whole` in a tile, only in `parts`, or in `no` tile with enough of their area.
        empty: number of tiles without a box.
        kept: how many of these are in `content`.
    """

    content: dict[str, Any]
    objects: Counter
    empty: int
    kept: int

    def summary(self) -> str:
        """Return a line on the tiles and one on the objects."""
        tiles, total = len(self.content['images']), sum(self.objects.values())
        return (f'{tiles} tiles: {tiles - self.kept} with a box, and {self.kept} of the {self.empty} without one\n'
                f'{total} objects: {self.objects["whole"]} are whole in a tile, {self.objects["parts"]} only in parts, '
                f'{self.objects["no"]} in no tile with enough of their area')


def write_tiles(splits: list[Checked], out: Path, cutting: Cutting) -> str:
    """Cut splits into tiles and write them as `write_coco` does. Holds one image in memory.

    Returns:
        What was cut, kept and left out, in lines.

    Raises:
        UserError: `out` is not an empty folder.
        DataError: an image cannot be read, or no tile has a box.
        OSError: a file cannot be written.
    """
    overlap = overlap_for(splits[0].content, cutting.size) if cutting.overlap is None else cutting.overlap
    lines = [f'tiles of {cutting.size} pixels; neighbours share at least {overlap}']

    def write(checked: Checked, folder: Path) -> dict[str, Any]:
        tiles = cut_records(checked.content, cutting, overlap)
        if len(tiles.content['images']) == tiles.kept:
            raise DataError(f'no tile of {cutting.size} pixels has a box in the {checked.split.name} split: less than '
                            f'{cutting.min_visible:g} of each object is in a tile. Choose larger tiles with --tiles N, '
                            'or a lower --min-visible')
        _write_pixels(checked, tiles.content['images'], folder)
        lines.extend(['', overview(replace(checked, content=tiles.content)), tiles.summary()])
        return tiles.content
    write_coco(splits, out, write)
    return '\n'.join(lines)


# -------------------------------------------------------------------------------------------------------------- records

def cut_records(content: dict[str, Any], cutting: Cutting, overlap: int) -> CutSplit:
    """Return the records of all tiles that have a box, and of some of the others, the same ones each time.

    A tile has the box of an object, clipped to the tile, if at least `cutting.min_visible` of its area is there. A
    smaller part is marked to be ignored: `iscrowd` 1, and `difficult` 1, so that nothing takes it for a crowd region
    that may be an object. So is a part of a crowd region. A tile with nothing else has no box. Segmentations are left
    out.

    Args:
        content: content that passed the check of its split.
        overlap: pixels that neighbours share at least.
    """
    boxes, objects, tiles = defaultdict(list), Counter[str](), list[tuple[dict, list[dict]]]()
    for box in content['annotations']:
        boxes[box['image_id']].append(box)
    for image, name in zip(content['images'], _names(content['images'])):
        found = defaultdict(list)
        axes = [tile_corners(image[side], cutting.size, overlap) for side in ('width', 'height')]
        for box in boxes[image['id']]:
            pieces = list(_pieces(box, image, axes, cutting))
            for corner, record in pieces:
                found[corner].append(record)
            if not box['iscrowd']:
                whole = any(record['area'] == box['area'] for _, record in pieces)
                objects['whole' if whole else 'no' if all(record['iscrowd'] for _, record in pieces) else 'parts'] += 1
        for top, left in product(*axes[::-1]):
            width, height = (min(cutting.size, image[side]) for side in ('width', 'height'))
            tiles.append((dict(file_name=name.format(left, top), width=width, height=height, corner=[left, top],
                               **{CUT_FROM: image['file_name']}), found[left, top]))
    return _chosen(content, tiles, objects, cutting.empty)


def _pieces(box: dict[str, Any], image: dict[str, Any], axes: list[list[int]],
            cutting: Cutting) -> Iterator[tuple[Corner, dict[str, Any]]]:
    """Yield what each tile has of a box: the tile's corner, and a record."""
    begins = [max(0, begin) for begin in box['bbox'][:2]]
    ends = [min(image[side], begin + length)
            for side, begin, length in zip(('width', 'height'), box['bbox'][:2], box['bbox'][2:])]
    x, y = ([(corner, max(begin, corner), min(end, corner + cutting.size)) for corner in corners
             if begin < corner + cutting.size and corner < end] for corners, begin, end in zip(axes, begins, ends))
    area = (ends[0] - begins[0]) * (ends[1] - begins[1])  # 0: rounded, of a box far below a pixel
    for (top, y1, y2), (left, x1, x2) in product(y, x) if area > 0 else ():
        width, height = x2 - x1, y2 - y1
        share = width * height / area
        is_remainder = share < (1 if box['iscrowd'] else cutting.min_visible)
        if is_remainder and min(width, height) < REMAINDER:
            continue
        ignored = dict(difficult=1) if is_remainder or box.get('difficult') else {}
        yield (left, top), dict(category_id=box['category_id'], bbox=[x1 - left, y1 - top, width, height],
                                area=box['area'] * share, iscrowd=int(is_remainder or box['iscrowd']), **ignored)


def _chosen(content: dict[str, Any], tiles: list[tuple[dict, list[dict]]], objects: Counter, ratio: float) -> CutSplit:
    """Return the tiles with a box, and so many of the others that there are `ratio` for one with a box."""
    empty = [index for index, (_, found) in enumerate(tiles) if all(record['iscrowd'] for record in found)]
    kept = min(len(empty), round(ratio * (len(tiles) - len(empty))))
    dropped = set(random.Random(0).sample(empty, len(empty) - kept))
    left = [tile for index, tile in enumerate(tiles) if index not in dropped]
    records = [dict(record, image_id=number) for number, (_, found) in enumerate(left, 1) for record in found]
    return CutSplit(dict(content, images=[dict(tile, id=number) for number, (tile, _) in enumerate(left, 1)],
                      annotations=[dict(record, id=number) for number, record in enumerate(records, 1)]),
                 objects, len(empty), kept)


def _names(images: list[dict]) -> list[str]:
    """Return a pattern for the names of the tiles of each image: NAME_LEFT_TOP.png, or .jpg for a JPEG.

    Images of one name with several extensions keep theirs in NAME.
    """
    targets = [target_of(image) for image in images]
    times = Counter(target.with_suffix('') for target in targets)
    names = [(target if times[target.with_suffix('')] > 1 else target.with_suffix('')).as_posix() for target in targets]
    endings = ['.jpg' if target.suffix.lower() in LOSSY else '.png' for target in targets]
    return [name.replace('{', '{{').replace('}', '}}') + '_{}_{}' + ending for name, ending in zip(names, endings)]


# --------------------------------------------------------------------------------------------------------------- pixels

def _write_pixels(checked: Checked, tiles: list[dict], folder: Path) -> None:
    """Write tiles with the pixels that a detector sees: upright, of 8 bits.

    Raises:
        DataError: an image cannot be read, or has another size than its record.
    """
    by_image = defaultdict(list)
    for tile in tiles:
        by_image[tile[CUT_FROM]].append(tile)
    sizes = {image['file_name']: (image['height'], image['width']) for image in checked.content['images']}
    for name, own in progress(by_image.items(), f'cutting {folder.name}', len(by_image), unit='image'):
        file = checked.split.images / name
        with naming(file):
            content = file.read_bytes()
            check_whole(content)
            pixels, _ = decode(content, upright=checked.upright, bits=checked.bits)
        if pixels.shape[:2] != sizes[name]:
            raise DataError(f'the image {file} is {pixels.shape[1]}x{pixels.shape[0]}, its record says '
                            f'{sizes[name][1]}x{sizes[name][0]}: its boxes are misplaced. Correct the record or remove '
                            'it')
        for tile in own:
            left, top = tile['corner']
            target = folder / tile['file_name']
            target.parent.mkdir(parents=True, exist_ok=True)
            part = pixels[top:top + tile['height'], left:left + tile['width']]
            target.write_bytes(cv2.imencode(target.suffix, part, QUALITY if target.suffix == '.jpg' else [])[1])
