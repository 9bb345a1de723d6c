"""Draws curves and pictures of a run from its files."""
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ghostdet.opencv import cv2
from ghostdet.runtime.images import check_whole, decode, naming

SHEET_SCORE = 0.4  # detections below it are not drawn
MOST = 800  # pixels of the longer side of an image on a sheet


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
            left.plot([record['step'] for record in training], [record[name] for record in training], label=name)
    left.set(xlabel='iteration', ylabel='loss', yscale='log', title='training loss')
    for key, name in (('bbox_mAP', 'AP'), ('bbox_mAP_50', 'AP50'), ('bbox_mAP_s', 'AP small'), ('bbox_mAP_m', 'AP medium'),
                      ('bbox_mAP_l', 'AP large')):
        points = [(record['step'], record[f'coco/{key}']) for record in validation if record.get(f'coco/{key}', -1) >= 0]
        if points:
            right.plot(*zip(*points), marker='.', label=name)
    right.set(xlabel='epoch', ylabel='average precision', ylim=(0, None), title='evaluation')
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.savefig(out, dpi=110)


def draw_comparison(runs: dict[str, Path], out: Path) -> None:
    """Draw AP by epoch of several runs in one picture.

    Args:
        runs: work directories by name of the run.
        out: the picture to write.
    """
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for name, work_dir in runs.items():
        _, validation = read_scalars(work_dir)
        axes.plot([record['step'] for record in validation], [record['coco/bbox_mAP'] for record in validation], marker='.',
                  label=name)
    axes.set(xlabel='epoch', ylabel='box AP', ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=110)


def draw_sheet(annotations: Path, images: Path, detections: Path, out: Path, upright: bool = True, count: int = 6) -> None:
    """Draw the first `count` evaluated images: ground truth above, if the file has any, and detections with scores below.

    Args:
        upright: turn images as their EXIF orientation says.
    """
    content = json.loads(annotations.read_text(encoding='utf-8'))
    names = {category['id']: category['name'] for category in content['categories']}
    chosen = content['images'][:count]
    rows = {'ground truth': _by_image(content['annotations'])} if content.get('annotations') else {}
    found = [box for box in json.loads(detections.read_text()) if box['score'] >= SHEET_SCORE]
    rows[f'detections, score >= {SHEET_SCORE}'] = _by_image(found)
    figure = Figure(figsize=(2.6 * len(chosen), 2.7 * len(rows)), layout='constrained')
    grid: Any = figure.subplots(len(rows), len(chosen), squeeze=False)
    for column, image in zip(grid.T, chosen):
        for axes, boxes in zip(column, rows.values()):
            _show(axes, images / image['file_name'], upright)
            axes.set(xticks=[], yticks=[])
            _draw_boxes(axes, boxes.get(image['id'], []), names)
    for axes, title in zip(grid[:, 0], rows):
        axes.set_ylabel(title)
    figure.savefig(out, dpi=90)


def draw_truth(content: dict[str, Any], images: Path, out: Path, upright: bool = True, count: int = 12) -> None:
    """Draw `count` images, spread over the split, with their boxes.

    Args:
        upright: turn images as their EXIF orientation says.
    """
    names = {category['id']: category['name'] for category in content['categories']}
    truth = _by_image(content['annotations'])
    filled = [image for image in content['images'] if image['id'] in truth] or content['images']
    chosen = filled[::max(1, len(filled) // count)][:count]
    figure = Figure(figsize=(12, 3 * -(-len(chosen) // 4)), layout='constrained')
    grid: Any = figure.subplots(-(-len(chosen) // 4), 4, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image in zip(grid.flat, chosen):
        _show(axes, images / image['file_name'], upright)
        axes.set_title(image['file_name'][-40:], fontsize=7, parse_math=False)
        _draw_boxes(axes, truth.get(image['id'], []), names)
    figure.savefig(out, dpi=110)


def _show(axes: Axes, file: Path, upright: bool) -> None:
    """Draw an image, reduced to a size that is enough for a sheet, in the coordinates of the full image."""
    with naming(file):
        content = file.read_bytes()
        check_whole(content)
        picture, times = decode(content, _fitting, upright)
    height, width = (times * side for side in picture.shape[:2])
    small = cv2.resize(picture, _fitting(width, height), interpolation=cv2.INTER_AREA)
    axes.imshow(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), extent=(-0.5, width - 0.5, height - 0.5, -0.5))


def _fitting(width: int, height: int) -> tuple[int, int]:
    factor = min(1, MOST / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _by_image(boxes: list[dict]) -> dict[int, list[dict]]:
    grouped: dict[int, list[dict]] = {}
    for box in sorted(boxes, key=lambda box: box.get('score', 1)):  # draw the highest score last, on top
        grouped.setdefault(box['image_id'], []).append(box)
    return grouped


def _draw_boxes(axes: Axes, boxes: list[dict], names: dict[int, str]) -> None:
    colours = colormaps['tab10']
    order = list(names)
    for box in boxes:
        x, y, width, height = box['bbox']
        colour = colours(order.index(box['category_id']) % 10)
        style = '--' if box.get('iscrowd') else '-'
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=1.5, linestyle=style))
        label = names[box['category_id']]
        label += f' {box["score"]:.2f}' if 'score' in box else ' (crowd)' if box.get('iscrowd') else ''
        axes.text(x, y, label, fontsize=7, color='white', va='bottom', bbox=dict(facecolor=colour, pad=0.5, linewidth=0),
                  clip_on=True, parse_math=False)
