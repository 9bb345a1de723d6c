"""Writes the report of a run: tables, figures, and the comparison with the expected AP."""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ghostdet.data.coco import Split
from ghostdet.errors import UserError
from ghostdet.evaluation.coco_table import LIMIT, CocoTable, evaluate
from ghostdet.evaluation.expected import Expected
from ghostdet.evaluation.html_report import PAGE, write_html
from ghostdet.evaluation.mistakes import Mistakes
from ghostdet.evaluation.plots import draw_confusion, draw_curves, draw_mistakes, draw_sheet
from ghostdet.files import write_whole
from ghostdet.options import DEFAULT_THRESHOLD
from ghostdet.training.datasets import EVALUATORS, classes_of, reads_upright, split_of

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
        text = (f'\n{self.table.to_text()}\n\nAP {self.ap:.3f}; tables, detections and images: {self.work_dir}/; '
                f'all on one page: {self.work_dir / PAGE}\n{self.table.point.to_line()}')
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


def write_report(cfg: Config, name: str, table: CocoTable | None, curves: bool) -> Report:
    """Write tables and figures of the detections in a run's work directory there.

    Args:
        name: of the loader that led to the detections: 'val' or 'test'.
        table: their evaluation; None: evaluate them.
        curves: also draw loss and AP curves of the run.

    Raises:
        UserError: there are no detections, or the fast evaluation is not possible.
    """
    work_dir, split, evaluator = Path(cfg.work_dir), split_of(cfg, name), cfg[EVALUATORS[name]]
    detections = detections_file(work_dir)
    if not detections.exists():
        raise UserError(f'the run ended without an evaluation, so there is no {detections}: evaluate its last '
                        'checkpoint with "ghostdet test"')
    table = table or evaluate(split.annotations, detections, classes_of(cfg, name), evaluator.get('fast_eval', False),
                              evaluator.get('max_objects', LIMIT))
    for ending, content in (('txt', table.to_text()), ('json', table.to_json()), ('md', table.to_markdown())):
        (work_dir / f'coco.{ending}').write_text(content, encoding='utf-8')
    _draw(work_dir, split, table, dict(upright=reads_upright(cfg, name), bits=cfg.get('bits')), curves)
    write_original_ids(split.annotations, detections, _original_ids_file(work_dir))
    return Report(table, work_dir)


def _draw(work_dir: Path, split: Split, table: CocoTable, how: dict[str, Any], curves: bool) -> None:
    """Write the figures, and the page that shows all. `how` is about reading images."""
    point, detections = table.point, detections_file(work_dir)
    mistakes = Mistakes.of(split.annotations, detections, point)
    (work_dir / 'threshold.json').write_text(point.to_json(), encoding='utf-8')
    draw_sheet(split.annotations, split.images, detections, work_dir / 'detections.png', **how,
               threshold=DEFAULT_THRESHOLD if point.threshold is None else point.threshold)
    draw_curves(work_dir, work_dir / 'curves.png', point, training=curves)
    draw_confusion(mistakes, work_dir / 'confusion.png')
    draw_mistakes(mistakes, split.images, work_dir, **how)
    write_html(work_dir, table, mistakes, f'{len(point.matches.images)} images, {len(point.matches.boxes)} boxes: '
                                          f'{split.annotations}')


def write_unscored(cfg: Config, name: str) -> Report:
    """Draw the detections on a split without annotations, and give them the ids of the user's file."""
    work_dir, split = Path(cfg.work_dir), split_of(cfg, name)
    detections = detections_file(work_dir)
    draw_sheet(split.annotations, split.images, detections, work_dir / 'detections.png', reads_upright(cfg, name),
               bits=cfg.get('bits'))
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
