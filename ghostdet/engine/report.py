"""What a run leaves for people and for programs."""
from pathlib import Path

from ghostdet.analysis.coco_table import CocoTable, evaluate
from ghostdet.analysis.plots import draw_curves, draw_sheet
from ghostdet.data.coco import Split

DETECTIONS = 'detections'  # mmdet's metric appends .bbox.json


def detections_file(work_dir: Path) -> Path:
    """Where a run's detections are, in COCO's result format."""
    return work_dir / f'{DETECTIONS}.bbox.json'


def write_report(work_dir: Path, split: Split, classes: tuple[str, ...], curves: bool) -> CocoTable:
    """Evaluate the detections in `work_dir`, and write the tables and pictures beside them.

    Args:
        curves: draw loss and AP of the run too.
    """
    detections = detections_file(work_dir)
    table = evaluate(split.annotations, detections, classes)
    for ending, content in (('txt', table.to_text()), ('json', table.to_json()), ('md', table.to_markdown())):
        (work_dir / f'coco.{ending}').write_text(content)
    draw_sheet(split.annotations, split.images, detections, work_dir / 'detections.png')
    if curves:
        draw_curves(work_dir, work_dir / 'curves.png')
    return table
