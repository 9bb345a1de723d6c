"""Generate the built-in data: small images of shapes in COCO's layout, the same on every machine.

Colours are random and backgrounds have texture, so a model can only learn the outline. Shapes overlap. A group of tiny
shapes is one crowd region, as in COCO.
"""
import contextlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ghostdet.errors import UserError
from ghostdet.files import beside

STAMP = 'shapes.json'  # records the settings of the generated data
CLASSES = ('disc', 'square', 'triangle')
# Box sides in pixels: lowest, highest, and probability of this range.
SIDES = ((18, 30, 0.4), (34, 80, 0.45), (98, 118, 0.15))
SUPERSAMPLE = 3
SQUARE, TRIANGLE = ((-1, -1), (1, -1), (1, 1), (-1, 1)), ((-1, 1), (1, 1), (0, -1))
MAX_COVERED = 0.3  # fraction of a shape that a later shape may hide


@dataclass(frozen=True)
class _GeneratedSet:
    train: int
    val: int
    size: int
    seed: int

    def write(self, root: Path) -> None:
        """Write both splits to `root`, unless this set is already there. Another generated set is replaced.

        Raises:
            UserError: `root` holds files that were not generated, which would be lost.
        """
        _publish(root, vars(self), self._fill)

    def _fill(self, root: Path) -> None:
        for index, (split, count) in enumerate((('train', self.train), ('val', self.val))):
            self._fill_split(root, split, count, np.random.default_rng([self.seed, index]))

    def _fill_split(self, root: Path, split: str, count: int, random: np.random.Generator) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class ShapesSet(_GeneratedSet):
    """Settings of a generated detection set in COCO's layout: number of images in each split, their side in pixels, and
    the seed.
    """

    train: int = 800
    val: int = 160
    size: int = 128
    seed: int = 0

    def _fill_split(self, root: Path, split: str, count: int, random: np.random.Generator) -> None:
        content = _write_split(root / f'{split}2017', count, self.size, random)
        annotations = root / 'annotations' / f'instances_{split}2017.json'
        annotations.parent.mkdir(exist_ok=True)
        annotations.write_text(json.dumps(content))


@dataclass(frozen=True)
class FolderSet(_GeneratedSet):
    """Settings of a generated classification set in ImageNet's layout: train/CLASS/* and val/CLASS/*. Each image has
    one shape; `size` is its side in pixels.
    """

    train: int = 1500
    val: int = 300
    size: int = 64
    seed: int = 1

    def _fill_split(self, root: Path, split: str, count: int, random: np.random.Generator) -> None:
        for number in range(count):
            kind = number % len(CLASSES)
            folder = root / split / CLASSES[kind]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_draw_one(kind, self.size, random)).save(folder / f'{number:06d}.png')


def _draw_one(kind: int, size: int, random: np.random.Generator) -> np.ndarray:
    image = texture(size, random)
    mask = None
    while mask is None:
        mask = _free_position(kind, np.full((size, size), -1), [], random)
    _paint(image, mask, random)
    return image


def _publish(root: Path, stamp: dict, fill: Callable[[Path], None]) -> None:
    """Generate the set that `stamp` describes into `root`, unless it is there. `root` never holds an incomplete set."""
    def is_there() -> bool:
        return (root / STAMP).exists() and json.loads((root / STAMP).read_text()) == stamp

    if is_there():
        return
    if root.exists() and any(root.iterdir()) and not (root / STAMP).exists():
        raise UserError(f'{root.absolute()} holds files that were not generated, and the built-in data would replace '
                        'them. To train on them, use --data-root with this folder. Otherwise set data_root to an empty '
                        'folder.')
    partial = beside(root)
    fill(partial)
    (partial / STAMP).write_text(json.dumps(stamp))
    if not is_there():  # the first of several processes wins
        shutil.rmtree(root, ignore_errors=True)
        with contextlib.suppress(OSError):
            partial.rename(root)
    shutil.rmtree(partial, ignore_errors=True)


def _write_split(folder: Path, count: int, size: int, random: np.random.Generator) -> dict:
    folder.mkdir(parents=True)
    images: list[dict] = []
    annotations: list[dict] = []
    for image_id in range(1, count + 1):
        image, objects = draw_image(size, random, with_crowd=image_id % 40 == 1)
        name = f'{image_id:06d}.png'
        Image.fromarray(image).save(folder / name)
        images.append(dict(id=image_id, file_name=name, width=size, height=size))
        annotations += [dict(entry, id=len(annotations) + k, image_id=image_id) for k, entry in enumerate(objects, 1)]
    categories = [dict(id=index, name=name, supercategory='shape') for index, name in enumerate(CLASSES, 1)]
    return dict(info=dict(description='ghostdet shapes'), licenses=[], images=images, annotations=annotations,
                categories=categories)


def draw_image(size: int, random: np.random.Generator, with_crowd: bool = False) -> tuple[np.ndarray, list[dict]]:
    """Return an image (size, size, 3), uint8, and its COCO records without ids. Areas count visible pixels only."""
    image = texture(size, random)
    owner = np.full((size, size), -1)  # index of the visible object at each pixel
    objects: list[tuple[int, np.ndarray]] = []
    if with_crowd:
        objects.append((-1, draw_crowd(image, owner, random)))
    for _ in range(random.integers(2, 7)):
        kind = int(random.integers(len(CLASSES)))
        mask = _free_position(kind, owner, [seen for _, seen in objects], random)
        if mask is not None:
            _paint(image, mask, random)
            owner[mask > 0.5] = len(objects)
            objects.append((kind, mask > 0.5))
    return image, [_record(kind, mask, owner == index) for index, (kind, mask) in enumerate(objects)]


def draw_crowd(image: np.ndarray, owner: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Paint a group of tiny discs at a random position, and return the mask of all of them."""
    size = len(owner)
    extent = min(56, size // 2)
    left, top = random.integers(0, size - extent, 2)
    union: np.ndarray = np.zeros((size, size), bool)
    for _ in range(14):
        centre = (left + random.uniform(5, extent - 5), top + random.uniform(5, extent - 5))
        mask = outline(0, size, centre, random.uniform(6, 9), 0.0)
        _paint(image, mask, random)
        union |= mask > 0.5
    owner[union] = 0
    return union


def _free_position(kind: int, owner: np.ndarray, earlier: list[np.ndarray],
                random: np.random.Generator) -> np.ndarray | None:
    """Return the coverage of a shape where it hides no earlier shape too much; None after ten failed tries."""
    size = len(owner)
    low, high, _ = SIDES[random.choice(len(SIDES), p=[probability for *_, probability in SIDES])]
    for _ in range(10):
        side = min(random.uniform(low, high), 0.9 * size)
        centre = random.uniform(side / 2 + 1, size - side / 2 - 1, 2)
        mask = outline(kind, size, tuple(centre), side, random.uniform(-15, 15))
        shape = mask > 0.5
        if all((shape & seen).sum() <= MAX_COVERED * seen.sum() for seen in earlier):
            return mask
    return None


def outline(kind: int, size: int, centre: tuple[float, float], side: float, degrees: float) -> np.ndarray:
    """Return the coverage (size, size), 0..1, of a shape whose box before rotation has sides of `side` pixels."""
    scale = SUPERSAMPLE
    canvas = Image.new('L', (size * scale, size * scale))
    draw = ImageDraw.Draw(canvas)
    half, turn = side / 2, math.radians(degrees)
    if kind == 0:
        draw.ellipse([(c + sign * half) * scale for sign in (-1, 1) for c in centre], fill=255)
    else:
        corners = [(half * x, half * y) for x, y in (SQUARE, TRIANGLE)[kind - 1]]
        shrink = 1 if kind == 2 else 0.9  # a rotated square would otherwise be larger than other shapes
        draw.polygon([((centre[0] + shrink * (x * math.cos(turn) - y * math.sin(turn))) * scale,
                       (centre[1] + shrink * (x * math.sin(turn) + y * math.cos(turn))) * scale) for x, y in corners],
                     fill=255)
    return np.asarray(canvas.reduce(scale), dtype=np.float32) / 255


def texture(size: int, random: np.random.Generator) -> np.ndarray:
    """Return a background (size, size, 3), uint8: two colours mixed by soft noise, with stripes and grain."""
    noise = sum(_soft_noise(size, cells, random) / cells for cells in (3, 6, 12))
    noise = (noise - noise.min()) / (np.ptp(noise) + 1e-6)
    angle, period = random.uniform(0, math.pi), random.uniform(5, 25)
    rows, columns = np.mgrid[:size, :size]
    stripes = np.sin((columns * math.cos(angle) + rows * math.sin(angle)) * 2 * math.pi / period)
    first, second = random.uniform(20, 235, (2, 3))
    mixed = first + (second - first) * noise[..., None] + 12 * stripes[..., None]
    return np.clip(mixed + random.normal(0, 6, mixed.shape), 0, 255).astype(np.uint8)


def _soft_noise(size: int, cells: int, random: np.random.Generator) -> np.ndarray:
    coarse = Image.fromarray(random.uniform(0, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _paint(image: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> None:
    """Fill the shape with grain and a random colour that differs from the pixels under it."""
    under = image[mask > 0.5].mean(0)
    colours = random.uniform(0, 255, (8, 3))
    colour = colours[np.abs(colours - under).sum(1).argmax()]
    fill = colour + random.normal(0, 8, image.shape)
    image[:] = np.clip(image * (1 - mask[..., None]) + fill * mask[..., None], 0, 255).astype(np.uint8)


def _record(kind: int, mask: np.ndarray, visible: np.ndarray) -> dict:
    """Return the COCO record of an object. Kind -1 is the crowd of discs; its mask is run-length encoded."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    record = dict(category_id=max(kind, 0) + 1, bbox=box, area=int(visible.sum()), iscrowd=int(kind < 0))
    if kind < 0:
        record['segmentation'] = dict(size=list(mask.shape), counts=_run_lengths(mask))
    return record


def _run_lengths(mask: np.ndarray) -> list[int]:
    """Return COCO's uncompressed run lengths: column by column, zeros first."""
    flat: np.ndarray = mask.flatten(order='F').astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=0))  # if the first value is 1, the first run is 0
    return np.diff([0, *edges, flat.size]).tolist()
