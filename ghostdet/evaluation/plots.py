"""Draws curves and figures of a run from its files."""
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostdet.evaluation.mistakes import KINDS, Mistakes
from ghostdet.evaluation.operating_point import Curve, OperatingPoint
from ghostdet.images.drawing import Sheet
from ghostdet.images.fonts import families, one_line
from ghostdet.options import DEFAULT_THRESHOLD

MANY = 30  # classes that a figure shows
MAX_NAME = 16  # characters of a class name in a figure
COLUMNS = 4  # of a sheet


def read_scalars(work_dir: Path) -> tuple[list[dict], list[dict]]:
    """Read the training and validation records of a run in order, including those before it was resumed.

    If a step is there twice, only the later record counts.
    """
    training: dict[int, dict] = {}
    validation: dict[int, dict] = {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        records = list(_records(file))
        steps = [record for record in records if 'loss' in record]
        if steps:  # this part starts here: later records of earlier parts are obsolete
            training = {step: record for step, record in training.items() if step < steps[0]['step']}
            validation = {epoch: record for epoch, record in validation.items() if epoch < steps[0]['epoch']}
        training.update({record['step']: record for record in records if 'loss' in record})
        validation.update({record['step']: record for record in records if 'coco/bbox_mAP' in record})
    return [training[step] for step in sorted(training)], [validation[step] for step in sorted(validation)]


def _records(file: Path) -> Iterator[dict]:
    for line in file.read_text().splitlines():
        with contextlib.suppress(ValueError):  # a full disk or a power cut can cut off a line
            yield json.loads(line)


def draw_curves(work_dir: Path, out: Path, point: OperatingPoint | None = None, training: bool = True) -> None:
    """Draw the curves of a run as a PNG.

    Args:
        work_dir: folder of the run.
        point: draw precision against recall, and F1 against the threshold.
        training: draw loss by iteration and AP by epoch.
    """
    rows = training + (point is not None)
    figure = Figure(figsize=(11, 4 * rows), layout='constrained')
    axes: list[list[Axes]] = figure.subplots(rows, 2, squeeze=False).tolist()
    if training:
        _draw_training(axes[0][0], axes[0][1], *read_scalars(work_dir))
    if point is not None:
        _draw_point(axes[-1][0], axes[-1][1], point)
    for one in figure.axes:
        one.grid(alpha=0.3)
        if one.lines:
            one.legend()
    figure.savefig(out, dpi=110)


def _draw_training(left: Axes, right: Axes, training: list[dict], validation: list[dict]) -> None:
    for name in ('loss', 'loss_cls', 'loss_bbox'):
        if training and name in training[0]:
            left.plot([record['step'] for record in training], [record[name] for record in training], label=name,
                      marker='.' if len(training) < 20 else '')
    left.set(xlabel='iteration', ylabel='loss', yscale='log', title='training loss')
    for key, name in (('bbox_mAP', 'AP'), ('bbox_mAP_50', 'AP50'), ('bbox_mAP_s', 'AP small'),
                      ('bbox_mAP_m', 'AP medium'), ('bbox_mAP_l', 'AP large')):
        points = [(record['step'], record[f'coco/{key}']) for record in validation
                  if record.get(f'coco/{key}', -1) >= 0]
        if points:
            right.plot(*zip(*points), marker='.', label=name)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set(xlabel='epoch', ylabel='average precision', ylim=(0, None), title='evaluation')


def _draw_point(left: Axes, right: Axes, point: OperatingPoint) -> None:
    """Draw precision against recall, and F1 against the threshold: of all classes together, and thin of each."""
    curves = list(point.curves.values())
    for curve in curves if 1 < len(curves) <= MANY else ():
        left.plot(curve.recall, curve.precision, color='grey', alpha=0.4, linewidth=0.8)
        right.step(*curve.steps, where='post', color='grey', alpha=0.4, linewidth=0.8)
    whole = Curve.of(point.matches)
    name = f'all classes; grey: each of {len(curves)}' if 1 < len(curves) <= MANY else 'all classes'
    left.plot(whole.recall, whole.precision, label=name)
    right.step(*whole.steps, where='post', label=name)
    if point.threshold is not None:
        row = point.total.to_dict()
        left.plot(row['recall'], row['precision'], 'o', color='tab:red', label=f'threshold {point.threshold:g}')
        right.plot(point.threshold, row['F1'], 'o', color='tab:red', label=f'threshold {point.threshold:g}')
    left.set(xlabel='recall', ylabel='precision', xlim=(0, 1), ylim=(0, 1.02), title='precision and recall, IoU 0.5')
    right.set(xlabel='threshold', ylabel='F1', xlim=(0, 1), ylim=(0, 1.02), title='F1, IoU 0.5')


def draw_confusion(mistakes: Mistakes, out: Path) -> None:
    """Draw the confusion matrix as a PNG: of the classes with the most mistakes, if there are many."""
    names, matrix = mistakes.matches.classes, mistakes.matrix
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * np.diag(matrix)
    shown = np.sort(np.argsort(-wrong[:-1], kind='stable')[:MANY])
    part = matrix[np.ix_([*shown, -1], [*shown, -1])]
    labels = [one_line(names[index])[:MAX_NAME] for index in shown]
    side = max(4, 1.5 + 0.45 * len(part))
    figure = Figure(figsize=(side + 1, side), layout='constrained')
    axes = figure.subplots()
    axes.imshow(part / np.maximum(part.sum(1, keepdims=True), 1), cmap='Blues', vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(part):
        if value:
            share = value / part[row].sum()
            axes.text(column, row, str(value), ha='center', va='center', fontsize=8,
                      color='white' if share > 0.6 else 'black')
    how: dict[str, Any] = dict(parse_math=False, family=families(labels))
    axes.set_xticks(range(len(part)), [*labels, 'missed'], rotation=90, **how)
    axes.set_yticks(range(len(part)), [*labels, 'nothing'], **how)
    title = f'threshold {mistakes.threshold:g}' if mistakes.threshold else 'all detections'
    title += f'; {MANY} of {len(names)} classes' if len(names) > MANY else ''
    axes.set(xlabel='found', ylabel='true', title=title)
    figure.savefig(out, dpi=110)


def draw_mistakes(mistakes: Mistakes, images: Path, folder: Path, upright: bool = True,
                  bits: int | None = None) -> None:
    """Draw the images with the most mistakes of each kind as `mistakes_{kind}.png`, the worst first.

    Args:
        images: folder of the images.
        upright: apply the EXIF orientation.
        bits: depth of images of more than 8 bits.
    """
    for kind in KINDS:
        sheet, worst = Sheet(mistakes.truth.dataset, images, upright, bits), mistakes.by_image(kind)
        for image, boxes in worst.items():
            record = mistakes.truth.imgs[image]
            sheet.add(record, boxes, f'{len(boxes)}: {record["file_name"][-40:]}')
        file = folder / f'mistakes_{kind}.png'
        file.unlink(missing_ok=True)
        if worst:
            sheet.write(file, min(COLUMNS, len(worst)))


def draw_sheet(annotations: Path, images: Path, detections: Path, out: Path, upright: bool = True,
               count: int = 6, threshold: float = DEFAULT_THRESHOLD, bits: int | None = None) -> None:
    """Draw the first `count` evaluated images: ground truth above, if the file has any, and detections below.

    If no detection of them reaches the threshold, the best `count` are drawn, and the sheet says so.

    Args:
        upright: apply the EXIF orientation.
        bits: depth of images of more than 8 bits.
    """
    content = json.loads(annotations.read_text(encoding='utf-8'))
    sheet, chosen = Sheet(content, images, upright, bits), content['images'][:count]
    shown = {image['id'] for image in chosen}
    found = [box for box in json.loads(detections.read_text()) if box['image_id'] in shown]
    best = sorted((box['score'] for box in found), reverse=True)[:count]
    reached = bool(best) and best[0] >= threshold
    least = threshold if reached or not best else best[-1]
    rows = {'ground truth': content['annotations']} if content.get('annotations') else {}
    title = f'detections, score >= {threshold:g}' if reached else f'nothing reaches {threshold:g}; the best {len(best)}'
    rows[title] = [box for box in found if box['score'] >= least]
    for title, boxes in rows.items():
        for image in chosen:
            sheet.add(image, [box for box in boxes if box['image_id'] == image['id']], title)
    sheet.write(out, len(chosen))
