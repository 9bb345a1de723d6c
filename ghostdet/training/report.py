"""Writes the report of a run: tables, figures, and the comparison with the expected AP."""
import json
from dataclasses import dataclass
from pathlib import Path

from ghostdet.data.coco import Split
from ghostdet.errors import UserError
from ghostdet.evaluation.coco_table import CocoTable, evaluate
from ghostdet.evaluation.expected import Expected
from ghostdet.evaluation.plots import draw_curves, draw_sheet
from ghostdet.files import write_whole

DETECTIONS = 'detections'  # mmdet's metric appends .bbox.json


@dataclass(frozen=True)
class Report:
    """The last evaluation of a run, its folder, and the expected AP, if it is to be checked.

    Attributes:
        table: None if the data has no annotations.
    """

    table: CocoTable | None
    work_dir: Path
    expected: Expected | None = None

    @property
    def ap(self) -> float:
        """COCO's AP, from 0 to 1; NaN if the data has no boxes to find, or no annotations."""
        return self.table.metrics['AP'] if self.table else float('nan')

    def to_text(self) -> str:
        """Return the tables and the comparison as text for a terminal."""
        if self.table is None:
            return ('\nThe split has no annotations, so there is no AP. The detections, in the format that COCO\'s '
                    f'server takes: {detections_file(self.work_dir)}')
        text = f'\n{self.table.to_text()}\n\nAP {self.ap:.3f}; tables, detections and images: {self.work_dir}/'
        return text if self.expected is None else f'{text}\n{self.expected.to_text(self.ap)}'

    def check(self) -> None:
        """Check that the AP is not below the expected one. Does nothing without an expected AP.

        Raises:
            UserError: the AP is too low.
        """
        if self.expected is not None:
            self.expected.check(self.ap)


def detections_file(work_dir: Path) -> Path:
    """Return the path of a run's detections, in COCO's result format."""
    return work_dir / f'{DETECTIONS}.bbox.json'


def clear_detections(work_dir: Path) -> None:
    """Delete the detections of an earlier run, which could be taken for new."""
    for file in (detections_file(work_dir), _original_ids_file(work_dir)):
        file.unlink(missing_ok=True)


def _original_ids_file(work_dir: Path) -> Path:
    return work_dir / 'original_ids.bbox.json'


def write_report(work_dir: Path, split: Split, classes: tuple[str, ...], table: CocoTable | None, curves: bool,
                 fast: bool = False, upright: bool = True) -> Report:
    """Write tables and figures of the detections in `work_dir` there.

    Args:
        table: their evaluation; None: evaluate them.
        curves: also draw loss and AP curves of the run.
        fast: evaluate with faster-coco-eval.
        upright: turn images as their EXIF orientation says.

    Raises:
        UserError: there are no detections, or `fast` is not possible.
    """
    detections = detections_file(work_dir)
    if not detections.exists():
        raise UserError(f'the run ended without an evaluation, so there is no {detections}: evaluate its last '
                        'checkpoint with "ghostdet test"')
    table = table or evaluate(split.annotations, detections, classes, fast)
    for ending, content in (('txt', table.to_text()), ('json', table.to_json()), ('md', table.to_markdown())):
        (work_dir / f'coco.{ending}').write_text(content)
    draw_sheet(split.annotations, split.images, detections, work_dir / 'detections.png', upright)
    if curves:
        draw_curves(work_dir, work_dir / 'curves.png')
    write_original_ids(split.annotations, detections, _original_ids_file(work_dir))
    return Report(table, work_dir)


def write_unscored(work_dir: Path, split: Split, upright: bool = True) -> Report:
    """Draw the detections on a split without annotations, and give them the ids of the user's file."""
    detections = detections_file(work_dir)
    draw_sheet(split.annotations, split.images, detections, work_dir / 'detections.png', upright)
    write_original_ids(split.annotations, detections, detections)
    return Report(None, work_dir)


def write_original_ids(annotations: Path, detections: Path, out: Path) -> None:
    """Write the detections to `out` with the ids of the user's annotation file, if the run used a copy with others."""
    content = json.loads(annotations.read_text(encoding='utf-8'))
    ids = [{record['id']: record.get('original_id', record['id']) for record in content[key]}
           for key in ('images', 'categories')]
    if any(new != old for table in ids for new, old in table.items()):
        renumbered = [dict(box, image_id=ids[0][box['image_id']], category_id=ids[1][box['category_id']])
                 for box in json.loads(detections.read_text())]
        write_whole(out, json.dumps(renumbered).encode())
