"""Choose the images whose detections a person should look at first: those with the most mistakes to expect.

The scores of a detector are taken for probabilities. A box with the score 0.6 is then wrong in 0.4 of all cases. A box
below the threshold is dropped; with the score 0.2 it is an object that is missed in 0.2 of all cases.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghostdet.files import write_whole
from ghostdet.images.drawing import REMARK, Sheet
from ghostdet.infer.agreement import overlaps
from ghostdet.infer.detections import Detections
from ghostdet.infer.detector import Detector
from ghostdet.infer.inputs import UNCERTAIN, UNCERTAIN_SHEET, Source

MIN_SCORE = 0.1  # of a dropped box that counts: many detectors return hundreds of lower ones
SAME = 0.5  # overlap (IoU) from which a dropped box is that of an object that was found
DRAWN, COLUMNS = 24, 4  # images on the sheet
DRAWN_DROPPED = 8  # dropped boxes on an image of it: the best ones


@dataclass(frozen=True)
class Doubt:
    """The mistakes to expect in an image: boxes that are wrong, and objects that are missed."""

    mistakes: float
    wrong: float
    missed: float
    source: Source
    kept: Detections
    dropped: Detections

    def __str__(self) -> str:
        return (f'{self.mistakes:.1f} mistakes to expect: {self.wrong:.1f} of {len(self.kept)} boxes wrong, '
                f'{self.missed:.1f} objects missed')


class Uncertain:
    """The images with the most mistakes to expect. Only these are kept in memory.

    Args:
        count: number of images.
        detector, threshold: of the detections.
    """

    def __init__(self, count: int, detector: Detector, threshold: float | Sequence[float]) -> None:
        self.count, self.detector = count, detector
        self.limits = np.broadcast_to(np.asarray(threshold, float), len(detector.classes))
        self.worst: list[Doubt] = []

    def add(self, source: Source, kept: Detections, every: Detections) -> None:
        """Take an image with the detections that are kept, and with all that the detector returns."""
        limits = self.limits[every.labels]
        at = (every.scores < limits) & (every.scores >= MIN_SCORE) & (limits <= 1)  # above 1: classes left out
        at[at] = overlaps(every.boxes[at], kept.boxes).max(1, initial=0) < SAME
        dropped = every.where(at)
        wrong, missed = float((1 - kept.scores).sum()), float(dropped.scores.sum())
        doubt = Doubt(wrong + missed, wrong, missed, source, kept, dropped)
        # Of equal images, the earlier one comes first.
        self.worst = sorted([*self.worst, doubt], key=lambda one: -one.mistakes)[:self.count]

    def write(self, out: Path, names: Mapping[str, str] | None = None) -> list[str]:
        """Write uncertain.txt, a line for each image, and uncertain.png, with kept boxes and the best dropped ones.

        Args:
            names: names to list, by those of the sources; None: the sources' own.

        Returns:
            the lines.
        """
        lines = [f'{(names or {}).get(one.source.name, one.source.name)}\t{one}' for one in self.worst]
        write_whole(out / UNCERTAIN, ''.join(f'{line}\n' for line in lines).encode('utf-8', 'surrogateescape'))
        categories = [dict(id=label, name=name) for label, name in enumerate(self.detector.classes, 1)]
        sheet = Sheet(dict(categories=categories), Path(), self.detector.engine.upright, self.detector.engine.bits)
        for one in self.worst[:DRAWN]:
            dropped = one.dropped.best(DRAWN_DROPPED).to_coco(0)
            boxes = one.kept.to_coco(0) + [{**record, REMARK: 'low'} for record in dropped]
            sheet.add(dict(file_name=str(one.source.file)), boxes, f'{one.mistakes:.1f}: {one.source.name}')
        if sheet.cells:
            sheet.write(out / UNCERTAIN_SHEET, COLUMNS)
        return lines
