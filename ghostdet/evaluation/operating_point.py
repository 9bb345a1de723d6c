"""Chooses the threshold to run a detector at, and computes precision, recall and F1 there."""
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ghostdet.errors import UserError
from ghostdet.evaluation.matches import IOU, Matches
from ghostdet.messages import shorten
from ghostdet.tables import cell

DIGITS = 6  # of a score in a file of detections


@dataclass(frozen=True)
class Curve:
    """Precision and recall at IoU 0.5 for every threshold.

    Attributes:
        scores: (K,) the scores that occur, the highest first.
        found: (K,) number of detections with at least this score.
        hits: (K,) how many of them are right.
        boxes: number of boxes to find.
    """

    scores: np.ndarray
    found: np.ndarray
    hits: np.ndarray
    boxes: int

    @classmethod
    def of(cls, matches: Matches) -> 'Curve':
        """Return the curve of all detections together."""
        order = np.argsort(-matches.detections['score'], kind='stable')
        scores, right = matches.detections['score'][order], matches.detections['box'][order] > 0
        last = np.flatnonzero(np.diff(scores, append=-np.inf))  # of each score
        return cls(scores[last], last + 1, np.cumsum(right)[last], len(matches.boxes))

    @property
    def precision(self) -> np.ndarray:
        """The fraction of detections that are right, (K,)."""
        return self.hits / self.found

    @property
    def recall(self) -> np.ndarray:
        """The fraction of boxes that are found, (K,); NaN if there are none."""
        return self.hits / self.boxes if self.boxes else np.full(len(self.hits), np.nan)

    @property
    def f1(self) -> np.ndarray:
        """The harmonic mean of precision and recall, (K,)."""
        return 2 * self.hits / (self.found + self.boxes)

    def threshold(self, index: int) -> float:
        """Return a short number that keeps the detections with at least the score `index`, and no others.

        It lies amid this score and the next one, so that another machine, which rounds otherwise, keeps the same.
        """
        score = float(self.scores[index])
        lower = float(self.scores[index + 1]) if index + 1 < len(self.scores) else 0.9 * score
        short = (round((lower + score) / 2, digits) for digits in range(1, DIGITS))
        return next((number for number in short if lower < number < score), score)

    @property
    def steps(self) -> tuple[list[float], list[float]]:
        """Thresholds from the highest score to 0, and the F1 from each to the next, to draw."""
        return [*self.scores, 0.], [*self.f1, *self.f1[-1:], *[0.] * (not len(self.f1))]

    def best(self) -> float | None:
        """Return the threshold with the best F1, of several the highest; None if nothing is found."""
        f1 = self.f1
        return self.threshold(int(np.argmax(f1))) if len(f1) and f1.max() > 0 else None

    def reaching(self, precision: float = 0, recall: float = 0) -> float:
        """Return the threshold with at least this precision and the most recall, or the other way round.

        Raises:
            UserError: no threshold reaches it.
        """
        mine, other = (self.precision, self.recall) if precision else (self.recall, self.precision)
        name, wanted = ('precision', precision) if precision else ('recall', recall)
        enough = np.flatnonzero(mine >= wanted)
        if not len(enough):
            best = f'{np.nanmax(mine):.3f}' if len(mine) and self.boxes else 'none'
            raise UserError(f'--{name}-at-least {wanted:g}: no threshold reaches it; the highest {name} is {best}')
        return self.threshold(int(enough[np.argmax(other[enough])]))


@dataclass(frozen=True)
class Counts:
    """Numbers of right, wrong and missed objects at a threshold, and how well objects are counted.

    Attributes:
        boxes, found, hits: boxes to find, detections, and right detections.
        errors: (images,) detections minus boxes of each image.
    """

    boxes: int
    found: int
    hits: int
    errors: np.ndarray

    @classmethod
    def of(cls, matches: Matches) -> 'Counts':
        """Count all detections and boxes."""
        found, boxes = (np.bincount(records['image'], minlength=len(matches.images))
                        for records in (matches.detections, matches.boxes))
        return cls(len(matches.boxes), len(matches.detections), int((matches.detections['box'] > 0).sum()),
                   found - boxes)

    @property
    def worst(self) -> int:
        """Index of the image with the largest error; of several, the first."""
        return int(np.argmax(np.abs(self.errors)))

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the figures by name; None where there is nothing to divide by."""
        return dict(boxes=self.boxes, detections=self.found, right=self.hits,
                    precision=_fraction(self.hits, self.found), recall=_fraction(self.hits, self.boxes),
                    F1=_fraction(2 * self.hits, self.found + self.boxes),
                    objects_an_image=_fraction(self.boxes, len(self.errors)),
                    mean_count_error=_fraction(int(self.errors.sum()), len(self.errors)),
                    mean_absolute_count_error=_fraction(int(np.abs(self.errors).sum()), len(self.errors)),
                    worst_count_error=int(self.errors[self.worst]) if len(self.errors) else None)


def _fraction(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold for all classes, and what a detector does there on a split.

    Attributes:
        matches: of all detections.
        threshold: None if no detection is right.
        why: how it was chosen.
    """

    matches: Matches
    threshold: float | None
    why: str

    @classmethod
    def choose(cls, matches: Matches, precision: float = 0, recall: float = 0) -> 'OperatingPoint':
        """Choose the threshold with the best F1 over all detections.

        Args:
            precision, recall: choose instead one that reaches this precision, with the most recall; or this recall.

        Raises:
            UserError: no threshold reaches it.
        """
        curve = Curve.of(matches)
        if not (precision or recall):
            return cls(matches, curve.best(), 'best F1')
        why = f'precision at least {precision:g}' if precision else f'recall at least {recall:g}'
        return cls(matches, curve.reaching(precision, recall), why)

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """The curve of each class."""
        return {name: Curve.of(self.matches.of_class(label)) for label, name in enumerate(self.matches.classes)}

    @property
    def own(self) -> dict[str, float | None]:
        """The threshold with the best F1 of each class by itself; None where nothing of it is found."""
        return {name: curve.best() for name, curve in self.curves.items()}

    @cached_property
    def kept(self) -> Matches:
        """The matches at the threshold; without one, of all detections."""
        return self.matches.above(self.threshold or 0)

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """The numbers at the threshold of each class."""
        return {name: Counts.of(self.kept.of_class(label)) for label, name in enumerate(self.matches.classes)}

    @cached_property
    def total(self) -> Counts:
        """The numbers at the threshold of all classes together."""
        return Counts.of(self.kept)

    @property
    def thresholds(self) -> dict[str, Any] | None:
        """What a checkpoint and an exported file keep: the threshold, and those of the classes; None without one."""
        return None if self.threshold is None else dict(all=self.threshold, classes={
            name: value for name, value in self.own.items() if value is not None})

    def to_json(self) -> str:
        """Return all numbers in full precision as JSON."""
        own = self.own
        classes = {name: dict(counts.to_dict(), own_threshold=own[name]) for name, counts in self.counts.items()}
        return json.dumps(dict(threshold=self.threshold, chosen_by=self.why, IoU=IOU, all=self.total.to_dict(),
                               classes=classes), indent=1)

    def to_line(self) -> str:
        """Return the threshold and the numbers of all classes together as one line."""
        if self.threshold is None:
            return 'no detection is right at IoU 0.5, so there is no threshold to recommend'
        row = {name: cell(value) for name, value in self.total.to_dict().items()}
        absent = {name: one.found for name, one in self.counts.items() if one.found and not one.boxes}
        return (f'threshold {self.threshold:g} ({self.why}): precision {row["precision"]}, recall {row["recall"]}, '
                f'F1 {row["F1"]}; objects an image: {row["objects_an_image"]}, counted with a mean absolute error of '
                f'{row["mean_absolute_count_error"]}') + (
            f'. {sum(absent.values())} of the wrong detections are of classes that have no box here: '
            f'{shorten(list(absent))}' if absent else '')

    def table(self) -> list[list[str]]:
        """Return a table of precision, recall, F1 and counts; the first row is the header."""
        own = self.own
        rows = [('all', self.total.to_dict(), self.threshold),
                *((name, counts.to_dict(), own[name]) for name, counts in self.counts.items())]
        return [['', *HEADER.values(), 'own threshold'],
                *([name, *(cell(row[key]) for key in HEADER), '-' if own is None else f'{own:g}']
                  for name, row, own in rows)]


# Key of `Counts.to_dict` -> heading.
HEADER = dict(boxes='boxes', detections='found', right='right', precision='precision', recall='recall', F1='F1',
              objects_an_image='objects/image', mean_count_error='count error', mean_absolute_count_error='absolute',
              worst_count_error='worst')
