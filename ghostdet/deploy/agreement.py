"""Check that two programs detect the same objects in the same images."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ghostdet.infer.sessions import Found


@dataclass(frozen=True)
class Tolerance:
    """How much two detections of one class may differ and still count as the same.

    Args:
        pixels: largest difference of each of the four sides, in pixels.
        overlap: with at least this intersection over union, `pixels` does not apply.
        score: largest difference of the scores.
        least: detections with a lower score are not compared.
        share: largest share of the compared detections without a partner. Not 0, because rounding can swap two
            detections that are nearly equal.
    """

    pixels: float
    overlap: float
    score: float
    least: float
    share: float

    def to_text(self) -> str:
        """Return one line for a terminal."""
        sides = f'sides within {self.pixels:g} px' if self.overlap >= 1 else f'an overlap of at least {self.overlap:g}'
        return f'{sides}, scores within {self.score:g}, at most {self.share:.0%} without a partner'


# fp32: differences from rounding only. fp16, int8: differences from weights in 16 bits and arithmetic in eight bits.
TOLERANCES = dict(fp32=Tolerance(0.1, 1, 1e-3, 0, 0.01), fp16=Tolerance(1, 0.9, 0.02, 0.05, 0.05),
                  int8=Tolerance(1, 0.5, 0.25, 0.3, 0.25))


@dataclass(frozen=True)
class Agreement:
    """The result of a comparison: counts, and the largest differences within a pair."""

    images: int
    pairs: int
    alone: int  # detections without a partner
    pixels: float
    score: float
    tolerance: Tolerance

    @property
    def is_close(self) -> bool:
        """Whether the share of detections without a partner is within the tolerance."""
        return self.alone <= self.tolerance.share * (2 * self.pairs + self.alone)

    def to_text(self) -> str:
        """Return one line for a terminal."""
        return (f'{self.images} images: {self.pairs} pairs of detections that differ by at most {self.pixels:.2g} px '
                f'and {self.score:.2g} in their scores, and {self.alone} detections without a partner (allowed: '
                f'{self.tolerance.to_text()})')


def compare(images: Iterable[tuple[Found, Found]], tolerance: Tolerance) -> Agreement:
    """Pair the detections of two programs, image by image, and return how well they agree."""
    count, alone, pairs = 0, 0, []
    for one, other in images:
        one, other = (tuple(part[found[1] >= tolerance.least] for part in found) for found in (one, other))
        matched = match(one, other, tolerance)
        count, alone = count + 1, alone + len(one[1]) + len(other[1]) - 2 * len(matched)
        pairs += [(np.abs(one[0][a] - other[0][b]).max(), abs(one[1][a] - other[1][b])) for a, b in matched]
    pixels, score = (float(max(values)) for values in zip(*pairs)) if pairs else (0., 0.)
    return Agreement(count, len(pairs), alone, pixels, score, tolerance)


def match(one: Sequence[np.ndarray], other: Sequence[np.ndarray], tolerance: Tolerance) -> list[tuple[int, int]]:
    """Return pairs of indices of detections that are the same.

    In order, each detection of `one` takes the nearest free detection of `other` within the tolerance.
    """
    free: np.ndarray = np.ones(len(other[1]), bool)
    pairs = []
    for place in range(len(one[1])):
        sides = np.abs(other[0] - one[0][place]).max(axis=1)
        near = (sides <= tolerance.pixels) | (overlaps(one[0][place], other[0]) >= tolerance.overlap)
        same = free & near & (other[2] == one[2][place]) & (np.abs(other[1] - one[1][place]) <= tolerance.score)
        if same.any():
            chosen = int(np.where(same, sides, np.inf).argmin())
            free[chosen] = False
            pairs.append((place, chosen))
    return pairs


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box (4,) with boxes (N, 4).

    >>> overlaps(np.array([0, 0, 2, 2]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])).round(2).tolist()
    [1.0, 0.33, 0.0]
    """
    inner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = inner.clip(0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, np.finfo(np.float32).tiny)
