"""Computes COCO's numbers from a file of detections, with pycocotools or the faster faster-coco-eval."""
import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ghostdet.evaluation.fast_coco import FastCOCOeval
from ghostdet.tables import aligned_table, markdown_table

# In the order of COCOeval.stats.
METRICS = ('AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large',
           'AR_1', 'AR_10', 'AR_100', 'AR_small', 'AR_medium', 'AR_large')
CLASS_METRICS = METRICS[:6]


@dataclass(frozen=True)
class CocoTable:
    """COCO's twelve numbers, and average precision for each class; NaN if there are no boxes to count."""

    metrics: dict[str, float]
    classes: dict[str, dict[str, float]]

    def to_json(self) -> str:
        """Return all numbers in full precision as JSON; null for NaN."""
        metrics, *classes = ({name: None if np.isnan(value) else value for name, value in row.items()}
                             for row in (self.metrics, *self.classes.values()))
        return json.dumps(dict(metrics=metrics, classes=dict(zip(self.classes, classes))), indent=1)

    def to_markdown(self) -> str:
        """Return two Markdown tables: the twelve numbers, and one row per class."""
        overall = _markdown(['', *self.metrics], [['all', *self.metrics.values()]])
        by_class = _markdown(['class', *CLASS_METRICS], [[name, *row.values()] for name, row in self.classes.items()])
        return f'{overall}\n\n{by_class}\n'

    def to_text(self) -> str:
        """Return average precision for all and for each class, and recall, as columns for a terminal."""
        all_classes = {name: self.metrics[name] for name in CLASS_METRICS}
        rows = [[name, *map(_number, row.values())] for name, row in [('all', all_classes), *self.classes.items()]]
        table = aligned_table([['', *CLASS_METRICS], *rows])
        recall = '   '.join(f'{name} {_number(self.metrics[name])}' for name in METRICS[6:])
        return f'{table}\n{recall}'


def evaluate(annotations: Path, detections: Path, classes: Sequence[str] | None = None,
             fast: bool = False) -> CocoTable:
    """Evaluate detections in COCO's result format against COCO annotations, with COCO's default settings.

    Args:
        classes: count only these; by default all categories of the annotation file.
        fast: use faster-coco-eval, which gives the same numbers.

    Raises:
        UserError: `fast`, but faster-coco-eval is not installed, or scores or boxes are not finite.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = (FastCOCOeval if fast else COCOeval)(truth, _load_results(truth, detections), 'bbox')
        if classes is not None:
            evaluation.params.catIds = truth.getCatIds(catNms=list(classes))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # pycocotools writes -1 if there is nothing to count
    metrics = {name: float(value) if value > -1 else float('nan') for name, value in zip(METRICS, evaluation.stats)}
    names = [truth.cats[category]['name'] for category in evaluation.params.catIds]
    rows = [_class_row(evaluation, index) for index in range(len(names))]
    return CocoTable(metrics, dict(zip(names, rows)))


def _load_results(truth: COCO, detections: Path) -> COCO:
    results = json.loads(detections.read_text())
    if results:
        return truth.loadRes(results)
    empty = COCO()  # loadRes fails on an empty list
    empty.dataset = dict(truth.dataset, annotations=[])
    empty.createIndex()
    return empty


def _class_row(evaluation: COCOeval, index: int) -> dict[str, float]:
    precision = evaluation.eval['precision']  # (IoU thresholds, recall points, classes, areas, detections per image)
    iou = evaluation.params.iouThrs
    slices = [(slice(None), 0), (np.isclose(iou, 0.5), 0), (np.isclose(iou, 0.75), 0), (slice(None), 1),
              (slice(None), 2), (slice(None), 3)]
    values = [precision[thresholds, :, index, area, -1] for thresholds, area in slices]
    return {name: float(v[v > -1].mean()) if (v > -1).any() else float('nan') for name, v in zip(CLASS_METRICS, values)}


def _number(value: float) -> str:
    return '-' if np.isnan(value) else f'{value:.3f}'


def _markdown(header: list[str], rows: list[list]) -> str:
    return markdown_table([header, *([str(row[0]), *map(_number, row[1:])] for row in rows)])
