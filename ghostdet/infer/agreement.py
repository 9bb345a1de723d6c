"""Check that two programs detect the same objects in the same images."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ghostdet.infer.decoding import Instances


@dataclass(frozen=True)
class Tolerance:
    """How much two detections of one class may differ and still count as the same.

    Args:
        pixels: maximum difference of each of the four sides, in pixels.
        overlap: with at least this intersection over union, `pixels` does not apply.
        score: maximum difference of the scores.
        min_score: detections with a lower score are not compared.
        fraction: maximum fraction of the compared detections without a partner. Not 0, because rounding can swap two
            detections that are nearly equal.
    """

    pixels: float
    overlap: float
    score: float
    min_score: float
    fraction: float

    def to_text(self) -> str:
        """Return one line for a terminal."""
        sides = f'sides within {self.pixels:g} px' if self.overlap >= 1 else f'an overlap of at least {self.overlap:g}'
        return f'{sides}, scores within {self.score:g}, at most {self.fraction:.0%} without a partner'


# fp32: differences from rounding only. fp16, int8: differences from weights in 16 bits and arithmetic in eight bits.
TOLERANCES = dict(fp32=Tolerance(0.1, 1, 1e-3, 0, 0.01), fp16=Tolerance(1, 0.9, 0.02, 0.05, 0.05),
                  int8=Tolerance(1, 0.5, 0.25, 0.3, 0.25))


@dataclass(frozen=True)
class Agreement:
    """The result of a comparison: counts, and the maximum differences within a pair."""

    images: int
    pairs: int
    alone: int  # detections without a partner
    pixels: float
    score: float
    tolerance: Tolerance

    @property
    def is_close(self) -> bool:
        """Whether the fraction of detections without a partner is within the tolerance."""
        return self.alone <= self.tolerance.fraction * (2 * self.pairs + self.alone)

    def to_text(self) -> str:
        """Return one line for a terminal."""
        return (f'{self.images} images: {self.pairs} pairs of detections that differ by at most {self.pixels:.2g} px '
                f'and {self.score:.2g} in their scores, and {self.alone} detections without a partner (allowed: '
                f'{self.tolerance.to_text()})')


def compare(images: Iterable[tuple[Instances, Instances]], tolerance: Tolerance, low: float | None = None) -> Agreement:
    """Pair the detections of two programs, image by image, and return how well they agree.

    Args:
        low: detections with a lower score can be partners, but need none; default: as the tolerance's `min_score`.
    """
    low, count, alone, pairs = tolerance.min_score if low is None else low, 0, 0, []
    for one, other in images:
        one, other = (tuple(part[result[1] >= tolerance.min_score] for part in result) for result in (one, other))
        matched = match(one, other, tolerance)
        count += 1
        for result, partners in zip((one, other), zip(*matched) if matched else ((), ())):
            alone += int((np.delete(result[1], list(partners)) >= low).sum())
        pairs += [(np.abs(one[0][a] - other[0][b]).max(), abs(one[1][a] - other[1][b])) for a, b in matched]
    pixels, score = (float(max(values)) for values in zip(*pairs)) if pairs else (0., 0.)
    return Agreement(count, len(pairs), alone, pixels, score, tolerance)


def match(one: Sequence[np.ndarray], other: Sequence[np.ndarray], tolerance: Tolerance) -> list[tuple[int, int]]:
    """Return pairs of indices of detections that are the same.

    In order, each detection of `one` takes the nearest free detection of `other` within the tolerance.
    """
    sides = np.abs(one[0][:, None] - other[0]).max(axis=2)  # (N, M)
    near = (sides <= tolerance.pixels) | (overlaps(one[0], other[0]) >= tolerance.overlap)
    same = near & (one[2][:, None] == other[2]) & (np.abs(one[1][:, None] - other[1]) <= tolerance.score)
    pairs = []
    for index, candidates in enumerate(same):
        if candidates.any():
            partner = int(np.where(candidates, sides[index], np.inf).argmin())
            same[:, partner] = False
            pairs.append((index, partner))
    return pairs


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union (N, M) of boxes (N, 4) with boxes (M, 4).

    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])).round(2).tolist()
    [[1.0, 0.33, 0.0]]
    """
    corners = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    shared = corners.clip(0).prod(axis=2, dtype=float)
    areas, other_areas = ((part[:, 2:] - part[:, :2]).prod(axis=1, dtype=float) for part in (boxes, others))
    with np.errstate(invalid='ignore'):  # boxes without an area
        return shared / (areas[:, None] + other_areas - shared)
