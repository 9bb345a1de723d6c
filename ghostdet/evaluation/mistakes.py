"""Finds what a detector gets wrong at a threshold: classes taken for each other, missed objects, and too many."""
import contextlib
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from ghostdet.evaluation.coco_table import load_results, load_truth
from ghostdet.evaluation.matches import Matches, confused
from ghostdet.evaluation.operating_point import OperatingPoint
from ghostdet.images.drawing import REMARK

WORST = 12  # images on a sheet
# Kind of mistake -> what its sheet shows.
KINDS = dict(confused='taken for another class', missed='not found', extra='found where nothing is, or twice')


@dataclass(frozen=True)
class Mistakes:
    """What is wrong in a split at a threshold.

    Attributes:
        threshold: of the detections that count.
        matches: at the threshold.
        confused: ids of a detection and of the box of another class that it covers.
        truth, results: the boxes and the detections.
    """

    threshold: float
    matches: Matches
    confused: tuple[tuple[int, int], ...]
    truth: COCO
    results: COCO

    @classmethod
    def of(cls, annotations: Path, detections: Path, point: OperatingPoint) -> 'Mistakes':
        """Find the mistakes at an operating point of two files in COCO's formats."""
        with contextlib.redirect_stdout(io.StringIO()):
            truth = load_truth(annotations)
            results = load_results(truth, detections)
            pairs = tuple(confused(truth, results, point.kept))
        return cls(point.threshold or 0, point.kept, pairs, truth, results)

    @property
    def matrix(self) -> np.ndarray:
        """The confusion matrix, (C + 1, C + 1) whole numbers.

        Rows are true classes; the last row is for detections where nothing is. Columns are found classes; the last
        column is for objects that are missed.
        """
        count = len(self.matches.classes)
        matrix: np.ndarray = np.zeros((count + 1, count + 1), int)
        right = self.matches.detections[self.matches.detections['box'] > 0]['label']
        np.add.at(matrix, (right, right), 1)
        np.add.at(matrix, (self._labels('boxes', 1), self._labels('detections', 0)), 1)
        np.add.at(matrix, (count, self.extra['label']), 1)
        np.add.at(matrix, (self.missed['label'], count), 1)
        return matrix

    @property
    def missed(self) -> np.ndarray:
        """The boxes that are neither found nor taken for another class."""
        missed = self.matches.missed
        return missed[~np.isin(missed['id'], [box for _, box in self.confused])]

    @property
    def extra(self) -> np.ndarray:
        """The detections where nothing is, or nothing that is not found already."""
        wrong = self.matches.wrong
        return wrong[~np.isin(wrong['id'], [detection for detection, _ in self.confused])]

    def count(self, kind: str) -> int:
        """Return the number of mistakes of a kind."""
        return len(getattr(self, kind))

    def file_name(self, index: int) -> str:
        """Return the file name of an image of the matches."""
        return str(self.truth.imgs[self.matches.images[index]]['file_name'])

    def most_confused(self, count: int = 20) -> list[tuple[str, str, int]]:
        """Return true class, found class and number of the most frequent confusions."""
        names, matrix = self.matches.classes, self.matrix[:-1, :-1]
        pairs = [(int(matrix[true, found]), true, found) for true, found in zip(*np.nonzero(matrix)) if true != found]
        return [(names[true], names[found], number) for number, true, found
                in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:]))[:count]]

    def by_image(self, kind: str) -> dict[int, list[dict]]:
        """Return image id -> records to draw, of the images with the most mistakes of a kind, the worst first."""
        if kind == 'confused':
            pairs = [(self.results.anns[detection], self.truth.anns[box]) for detection, box in self.confused]
            records = [{**found, REMARK: f'not {self.truth.cats[box["category_id"]]["name"]}'} for found, box in pairs]
        else:
            ids, known = (self.missed, self.truth) if kind == 'missed' else (self.extra, self.results)
            records = [known.anns[int(id_)] for id_ in ids['id']]
        worst = Counter(record['image_id'] for record in records).most_common(WORST)
        return {image: [record for record in records if record['image_id'] == image] for image, _ in worst}

    def _labels(self, kind: str, position: int) -> np.ndarray:
        records = getattr(self.matches, kind)
        labels = dict(zip(records['id'].tolist(), records['label'].tolist()))
        return np.array([labels[pair[position]] for pair in self.confused], int)
