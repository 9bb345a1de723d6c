"""Compare the speed of COCO evaluation with pycocotools and with faster-coco-eval, on the same generated detections."""
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.timing import race, spent_by_processor
from ghostdet.evaluation.coco_table import CocoTable, evaluate

CLASSES = 80
SIZE = (640, 480)  # width and height of every image, in pixels
CROWDS = 0.01  # fraction of boxes that are crowds
NEAR = 0.4  # fraction of detections near a box; the others are anywhere


@dataclass(frozen=True)
class EvalSpeed:
    """Processor time of whole evaluations in seconds, with reading of files, and the largest difference of the results.

    Times with the same index are a pair. Both libraries run in one thread, so on an idle machine processor time is
    waiting time. Other processes hardly change it.
    """

    counts: str
    pycocotools: tuple[float, ...]
    faster: tuple[float, ...]
    difference: float

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times faster faster-coco-eval is, pair by pair."""
        return tuple(slow / fast for slow, fast in zip(self.pycocotools, self.faster))

    def to_text(self) -> str:
        """Return lines for a terminal: medians, with minimum and maximum in brackets."""
        rows = (('pycocotools', self.pycocotools, ' s'), ('faster-coco-eval', self.faster, ' s'),
                ('ratio, by pairs', self.ratios, ''))
        lines = [f'{name:16} {median(values):7.2f}{unit} ({min(values):.2f} to {max(values):.2f})'
                 for name, values, unit in rows]
        return '\n'.join([f'{self.counts}; {len(self.faster)} pairs, processor time', *lines,
                          f'largest difference of the twelve numbers and of the classes\' rows: {self.difference:.1g}'])


def compare(images: int, detections: int, kinds: int, pairs: int, folder: Path) -> EvalSpeed:
    """Measure how long pycocotools and faster-coco-eval take to evaluate the same generated detections of 80 classes.

    Args:
        detections: detections per image.
        kinds: largest number of classes among an image's detections.
        pairs: how often each library evaluates. Which one goes first is random.
        folder: where the two generated files are written.

    Raises:
        UserError: faster-coco-eval is not installed.
    """
    truth, results = made_up(images, detections, kinds)
    files = (folder / 'truth.json', folder / 'detections.json')
    for file, content in zip(files, (truth, results)):
        file.write_text(json.dumps(content))
    mean = len({(box['image_id'], box['category_id']) for box in results}) / images
    counts = (f'{images} images, {len(truth["annotations"])} boxes, '
              f'{len(results)} detections of {mean:.1f} classes an image')
    del truth, results
    tables = {}

    def evaluating(fast: bool) -> Callable[[], None]:
        def call() -> None:
            tables[fast] = evaluate(*files, fast=fast)
        return call
    slow, faster = zip(*race([evaluating(False), evaluating(True)], pairs, spent_by_processor, warm=False))
    return EvalSpeed(counts, slow, faster, largest_difference(tables[False], tables[True]))


def largest_difference(one: CocoTable, other: CocoTable) -> float:
    """Return the largest difference between the numbers of two tables; infinite if only one table has a number."""
    a, b = (np.array([*table.metrics.values(), *(value for row in table.classes.values() for value in row.values())])
            for table in (one, other))
    apart = np.where(np.isnan(a) & np.isnan(b), 0, np.abs(a - b))
    return float(np.nan_to_num(apart, nan=np.inf).max())


def made_up(images: int, detections: int, kinds: int, seed: int = 0) -> tuple[dict, list[dict]]:
    """Generate COCO annotations and results.

    An image has 1 to 14 boxes, on average 7.5, of few classes and all sizes. Detections are near boxes or anywhere.
    """
    rng = np.random.default_rng(seed)
    boxes: list[dict] = []
    results: list[dict] = []
    for image in range(1, images + 1):
        count = int(rng.integers(1, 15))
        # The first classes are more frequent than the last; COCO's classes are uneven, too.
        classes = 1 + (CLASSES * rng.random(kinds) ** 2).astype(int)
        bboxes, labels = _boxes(rng, count), rng.choice(classes[:5], count)
        crowds = rng.random(count) < CROWDS
        boxes += [dict(id=len(boxes) + number, image_id=image, category_id=int(label), bbox=bbox.tolist(),
                       area=float(bbox[2] * bbox[3]), iscrowd=int(crowd))
                  for number, (bbox, label, crowd) in enumerate(zip(bboxes, labels, crowds), 1)]
        results += _detections(rng, image, rng.choice(classes, detections), bboxes, labels)
    categories = [dict(id=number, name=f'class {number}') for number in range(1, CLASSES + 1)]
    records = [dict(id=image, file_name=f'{image}.jpg', width=SIZE[0], height=SIZE[1])
               for image in range(1, images + 1)]
    return dict(images=records, annotations=boxes, categories=categories), results


def _detections(rng: np.random.Generator, image: int, classes: np.ndarray, bboxes: np.ndarray,
                labels: np.ndarray) -> Iterator[dict]:
    """Yield the detections of one image; those near a box mostly get that box's class and higher scores."""
    count = len(classes)
    near = rng.random(count) < NEAR
    target = rng.integers(len(bboxes), size=count)
    moved = bboxes[target] + bboxes[target][:, [2, 3, 2, 3]] * rng.normal(0, 0.1, (count, 4))
    bbox = np.where(near[:, None], moved, _boxes(rng, count))
    bbox[:, 2:] = np.maximum(bbox[:, 2:], 1)
    label = np.where(near & (rng.random(count) < 0.8), labels[target], classes)
    score = rng.random(count) ** np.where(near, 1, 3)
    for box, kind, value in zip(bbox.tolist(), label.tolist(), score.tolist()):
        yield dict(image_id=image, category_id=kind, bbox=box, score=value)


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return `count` boxes [x, y, width, height] inside the image, (count, 4), with sides from 4 pixels up."""
    size = np.exp(rng.uniform(np.log(4), np.log(SIZE), (count, 2)))
    return np.concatenate([rng.random((count, 2)) * (SIZE - size), size], 1)
