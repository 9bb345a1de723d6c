"""What counts as a near tie."""
import numpy as np
import pytest

from ghostdet.infer.agreement import Tolerance
from tests.near_ties import Limits, unexplained

EXACT = Tolerance(pixels=0.01, overlap=1, score=1e-4, min_score=0, fraction=0)
LIMITS = Limits(overlap=0.5, max_count=4, score=0.05)
BEST = (0, 0, 30, 30, 0.9, 0)


def detections(*rows):
    """Of rows (left, top, right, bottom, score, label)."""
    table = np.array(rows, float).reshape(-1, 6)
    return table[:, :4], table[:, 4], table[:, 5].astype(int)


@pytest.mark.parametrize(('one', 'other', 'count'), [
    ([BEST], [BEST], 0),
    ([BEST, (50, 50, 60, 60, 0.5, 0)], [BEST], 1),                                   # nothing cuts it
    ([BEST, (50, 50, 60, 60, 0.05005, 0)], [BEST], 0),                               # the threshold
    ([BEST, (50, 50, 60, 60, 0.052, 0)], [BEST], 1),
    ([BEST, (10, 0, 40, 30, 0.5, 0)], [BEST], 0),                                    # an overlap of 0.5
    ([BEST, (10, 0, 40, 30, 0.5, 1)], [BEST], 1),                                    # of another class
    ([BEST, (10.1, 0, 40.1, 30, 0.5, 0)], [BEST], 1),                                # an overlap of 0.496
    # an overlap of 0.54: both should have removed it
    ([BEST, (9, 0, 39, 30, 0.5, 0)], [BEST], 1),
    # of two with one score either stays
    ([(0, 0, 30, 30, 0.6, 0)], [(2, 0, 32, 30, 0.60005, 0)], 0),
    ([(0, 0, 30, 30, 0.6, 0)], [(2, 0, 32, 30, 0.61, 0)], 2),
    # A near tie stays here, and removes one that stays there.
    ([BEST, (10, 0, 40, 30, 0.5, 0)], [BEST, (12, 0, 42, 30, 0.4, 0)], 0),
    # Four are kept: the extra one pushes the last one out.
    ([BEST, (10, 0, 40, 30, 0.5, 0), (0, 50, 9, 59, 0.4, 0), (0, 70, 9, 79, 0.3, 0)],
     [BEST, (0, 50, 9, 59, 0.4, 0), (0, 70, 9, 79, 0.3, 0), (50, 70, 59, 79, 0.2, 0)], 0),
    ([BEST, (50, 0, 80, 30, 0.5, 0), (0, 50, 9, 59, 0.4, 0), (0, 70, 9, 79, 0.3, 0)],
     [BEST, (0, 50, 9, 59, 0.4, 0), (0, 70, 9, 79, 0.3, 0), (50, 70, 59, 79, 0.2, 0)], 1)])
def test_unexplained_counts_what_no_limit_cut(one, other, count):
    for pair in ((one, other), (other, one)):
        assert len(unexplained(*(detections(*rows) for rows in pair), LIMITS, EXACT)) == count


def test_unexplained_knows_candidates_next_to_the_last_one_that_is_decoded():
    one, other = detections(BEST, (50, 50, 60, 60, 0.5, 0)), detections(BEST)
    doubtful = detections((50, 50, 60.005, 60, 0.5, 0))
    assert not unexplained(one, other, Limits(0.5, 4, 0.05, doubtful), EXACT)
    assert unexplained(one, other, Limits(0.5, 4, 0.05, detections((50, 50, 60, 60, 0.5, 1))), EXACT)
