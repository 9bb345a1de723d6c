"""Detections that one of two programs has and the other has not, because rounding decided.

Two programs that compute the same in another order agree but for near ties: a score next to a limit, or an overlap next
to the threshold of non-maximum suppression. A test asserts that each detection without a partner is such a tie, on any
processor.
"""
from dataclasses import dataclass

import numpy as np

from ghostdet.infer.agreement import Tolerance, match, overlaps

MARGIN = 1e-4  # of scores and overlaps; fp32 rounds scores to about 1e-6, and overlaps of shifted boxes to about 1e-5


@dataclass(frozen=True)
class Limits:
    """What cuts a detector's candidates down to its detections.

    Args:
        overlap: a box is removed by a better one of its class with a larger overlap.
        max_count: detections that are kept of an image.
        score: detections with a lower score are removed.
        doubtful: boxes, scores and labels of candidates whose score is next to that of the last one that is decoded.
    """

    overlap: float
    max_count: int
    score: float = 0
    doubtful: tuple[np.ndarray, ...] = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))


def unexplained(one, other, limits: Limits, tolerance: Tolerance) -> list[str]:
    """Return a line for each detection of `one` or `other` that has no partner and is no near tie."""
    pairs = match(one, other, tolerance)
    sides = [(one, other, set(range(len(one[1]))) - {a for a, _ in pairs}),
             (other, one, set(range(len(other[1]))) - {b for _, b in pairs})]
    ties = [{index for index in alone if _at_a_limit(own, index, others, limits, tolerance)} for own, others,
            alone in sides]
    changed = True
    while changed:  # what a near tie removes in one program is there in the other, where it may remove others
        changed = False
        for (own, others, alone), mine, theirs in zip(sides, ties, ties[::-1]):
            for index in alone - mine:
                if _removed_by(own, index, others, theirs, limits):
                    mine.add(index)
                    changed = True
    return [f'{side}: box {own[0][index].round(3).tolist()}, score {own[1][index]:.6f}, label {own[2][index]}'
            for side, (own, _, alone), mine in zip(('one', 'other'), sides, ties) for index in sorted(alone - mine)]


def _at_a_limit(own, index, others, limits, tolerance) -> bool:
    box, score, label = (part[index] for part in own)
    if score <= limits.score + MARGIN or (len(others[1]) == limits.max_count and score <= others[1][-1] + MARGIN):
        return True
    boxes, _, labels = limits.doubtful
    return bool(((np.abs(boxes - box).max(axis=1) <= tolerance.pixels) & (labels == label)).any())


def _removed_by(own, lost, others, ties, limits) -> bool:
    """Whether `others` has a box that removes this one there, but not here: by a near tie."""
    box, score, label = (part[lost] for part in own)
    shared = overlaps(box[None], others[0])[0]
    removes = (others[2] == label) & (others[1] >= score - MARGIN) & (shared >= limits.overlap - MARGIN)
    for index in removes.nonzero()[0]:
        if shared[index] <= limits.overlap + MARGIN or others[1][index] <= score + MARGIN or index in ties:
            return True
    return False
