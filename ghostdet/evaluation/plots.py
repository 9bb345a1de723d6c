"""Draws curves and figures of a run from its files."""
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostdet.images.drawing import Sheet

SHEET_SCORE = 0.4  # detections below it are not drawn, if there are others


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


def draw_curves(work_dir: Path, out: Path) -> None:
    """Draw loss by iteration and AP by epoch of the run in `work_dir`, as a PNG."""
    training, validation = read_scalars(work_dir)
    figure = Figure(figsize=(11, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
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
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.savefig(out, dpi=110)


def draw_sheet(annotations: Path, images: Path, detections: Path, out: Path, upright: bool = True,
               count: int = 6) -> None:
    """Draw the first `count` evaluated images: ground truth above, if the file has any, and detections below.

    If no detection has a score of `SHEET_SCORE`, the best `count` are drawn.

    Args:
        upright: apply the EXIF orientation.
    """
    content = json.loads(annotations.read_text(encoding='utf-8'))
    sheet, chosen = Sheet(content, images, upright), content['images'][:count]
    shown = {image['id'] for image in chosen}
    found = [box for box in json.loads(detections.read_text()) if box['image_id'] in shown]
    best = sorted((box['score'] for box in found), reverse=True)[:count]
    least = SHEET_SCORE if not best or best[0] >= SHEET_SCORE else best[-1]
    rows = {'ground truth': content['annotations']} if content.get('annotations') else {}
    rows[f'detections, score >= {least:.2g}'] = [box for box in found if box['score'] >= least]
    for title, boxes in rows.items():
        for image in chosen:
            sheet.add(image, [box for box in boxes if box['image_id'] == image['id']], title)
    sheet.write(out, len(chosen))
