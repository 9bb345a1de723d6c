"""Computes COCO's numbers from a file of detections, with pycocotools or the faster faster-coco-eval."""
import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ghostdet.evaluation.fast_coco import FastCOCOeval
from ghostdet.evaluation.matches import Matches, match, matches_of
from ghostdet.evaluation.operating_point import OperatingPoint
from ghostdet.tables import aligned_table, cell, markdown_table

# In the order of COCOeval.stats.
METRICS = ('AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large',
           'AR_1', 'AR_10', 'AR_100', 'AR_small', 'AR_medium', 'AR_large')
CLASS_METRICS = METRICS[:6]
LIMIT = 100  # detections of an image that COCO's AP counts, those with the highest scores


@dataclass(frozen=True)
class CocoTable:
    """COCO's twelve numbers, and average precision for each class; NaN if there are no boxes to count.

    Attributes:
        max_objects: detections of an image that were evaluated.
        at_limit: the first six numbers and AR with `max_objects` detections of an image; empty if these are not more
            than COCO's 100.
        matches: what each detection hits at IoU 0.5.
    """

    metrics: dict[str, float]
    classes: dict[str, dict[str, float]]
    max_objects: int = LIMIT
    at_limit: dict[str, float] = field(default_factory=dict)
    matches: Matches = field(default=Matches((), ()), repr=False, compare=False)

    @cached_property
    def point(self) -> OperatingPoint:
        """The threshold with the best F1, and what the detector does there."""
        return OperatingPoint.choose(self.matches)

    def to_json(self) -> str:
        """Return all numbers in full precision as JSON; null for NaN."""
        metrics, at_limit, *classes = ({name: None if np.isnan(value) else value for name, value in row.items()}
                                       for row in (self.metrics, self.at_limit, *self.classes.values()))
        limit = dict(max_objects=self.max_objects, metrics_at_max_objects=at_limit) if at_limit else {}
        return json.dumps(dict(metrics=metrics, classes=dict(zip(self.classes, classes)), **limit), indent=1)

    def to_markdown(self) -> str:
        """Return two Markdown tables: the twelve numbers, and one row per class."""
        overall = _markdown(['', *self.metrics], [['all', *self.metrics.values()]])
        rows = [[name, *(row[key] for key in CLASS_METRICS)] for name, row in self.rows()[1:]]
        return f'{overall}\n\n{_markdown(["class", *CLASS_METRICS], rows)}\n'

    def to_text(self) -> str:
        """Return average precision for all and for each class, and recall, as columns for a terminal."""
        rows = [[name, *(cell(row[key]) for key in CLASS_METRICS)] for name, row in self.rows()]
        table = aligned_table([['', *CLASS_METRICS], *rows])
        recall = '   '.join(f'{name} {cell(value)}' for name, value in [*self.metrics.items()][6:]
                            + [*self.at_limit.items()][6:])
        return f'{table}\n{recall}'

    def rows(self) -> list[tuple[str, dict[str, float]]]:
        """Return name and figures of each row: all classes, also at `max_objects`, and each class."""
        limit = [(f'all, {self.max_objects} an image', self.at_limit)] if self.at_limit else []
        return [('all', self.metrics), *limit, *self.classes.items()]


def evaluate(annotations: Path, detections: Path, classes: Sequence[str] | None = None,
             fast: bool = False, max_objects: int = LIMIT) -> CocoTable:
    """Evaluate detections in COCO's result format against COCO annotations, with COCO's default settings.

    Args:
        classes: count only these; by default all categories of the annotation file.
        fast: use faster-coco-eval, which gives the same numbers.
        max_objects: also compute average precision with so many detections of an image, if these are more than 100.

    Raises:
        UserError: `fast`, but faster-coco-eval is not installed, or scores or boxes are not finite.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = load_truth(annotations)
        results = load_results(truth, detections)
        evaluation = (FastCOCOeval if fast else COCOeval)(truth, results, 'bbox')
        if classes is not None:
            evaluation.params.catIds = truth.getCatIds(catNms=list(classes))
        if max_objects > LIMIT:
            evaluation.params.maxDets = [*evaluation.params.maxDets, max_objects]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        matches = matches_of(match(truth, results, evaluation.params.catIds, max(LIMIT, max_objects)) if fast else
                             evaluation)
    # pycocotools writes -1 if there is nothing to count
    metrics = {name: float(value) if value > -1 else float('nan') for name, value in zip(METRICS, evaluation.stats)}
    names = [truth.cats[category]['name'] for category in evaluation.params.catIds]
    rows = [_row(evaluation, slice(index, index + 1)) for index in range(len(names))]
    at_limit = {}
    if max_objects > LIMIT:
        recall = evaluation.eval['recall'][:, :, 0, -1]
        at_limit = {**_row(evaluation, slice(None), -1), f'AR_{max_objects}': _mean(recall)}
    return CocoTable(metrics, dict(zip(names, rows)), max(LIMIT, max_objects), at_limit, matches)


def load_truth(annotations: Path) -> COCO:
    """Read annotations in COCO's format. Boxes get new ids if one is missing, 0 or shared: pycocotools loses such."""
    truth, content = COCO(), json.loads(annotations.read_text(encoding='utf-8'))
    ids = [box.get('id') for box in content['annotations']]
    if not all(ids) or len(set(ids)) < len(ids):
        content['annotations'] = [{**box, 'id': number} for number, box in enumerate(content['annotations'], 1)]
    truth.dataset = content
    truth.createIndex()
    return truth


def load_results(truth: COCO, detections: Path) -> COCO:
    """Read detections in COCO's result format, of images in `truth`. Their ids are positions in the file, from 1."""
    results = json.loads(detections.read_text())
    if results:
        return truth.loadRes(results)
    empty = COCO()  # loadRes fails on an empty list
    empty.dataset = dict(truth.dataset, annotations=[])
    empty.createIndex()
    return empty


def _row(evaluation: COCOeval, classes: slice, limit: int = 2) -> dict[str, float]:
    """Return the average precision of some classes; `limit` is an index of `maxDets`."""
    precision = evaluation.eval['precision']  # (IoU thresholds, recall points, classes, areas, detections per image)
    iou = evaluation.params.iouThrs
    slices = [(slice(None), 0), (np.isclose(iou, 0.5), 0), (np.isclose(iou, 0.75), 0), (slice(None), 1),
              (slice(None), 2), (slice(None), 3)]
    return {name: _mean(precision[thresholds, :, classes, area, limit])
            for name, (thresholds, area) in zip(CLASS_METRICS, slices)}


def _mean(values: np.ndarray) -> float:
    return float(values[values > -1].mean()) if (values > -1).any() else float('nan')


def _markdown(header: list[str], rows: list[list]) -> str:
    return markdown_table([header, *([str(row[0]), *map(cell, row[1:])] for row in rows)])
