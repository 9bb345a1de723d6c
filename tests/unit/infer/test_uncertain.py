"""The images that a person should look at first."""
import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ghostdet.infer.detections import Detections
from ghostdet.infer.inputs import Source
from ghostdet.infer.uncertain import Uncertain
from tests.conftest import examples

DETECTOR = SimpleNamespace(classes=('a', 'b'), engine=SimpleNamespace(upright=True, bits=None))
SCORES = st.lists(st.integers(0, 1000).map(lambda score: score / 1000), max_size=6)


def found(*boxes):
    """Detections of (score, label, left): squares of ten pixels, best first."""
    rows = np.array(sorted(boxes, reverse=True), np.float32).reshape(-1, 3)
    left = rows[:, 2]
    corners = np.stack((left, left * 0, left + 10, left * 0 + 10), 1)
    return Detections(corners, rows[:, 0], rows[:, 1].astype(np.int64), ('a', 'b'), (10, 500))


def chosen(count, threshold, *images):
    uncertain = Uncertain(count, DETECTOR, threshold)
    for number, every in enumerate(images):
        uncertain.add(Source(number, f'{number}.jpg'), every.above(threshold), every)
    return uncertain.worst


def test_mistakes_to_expect_are_wrong_boxes_and_missed_objects():
    one, = chosen(5, 0.5, found((0.9, 0, 0), (0.6, 1, 20), (0.4, 0, 40), (0.3, 1, 60)))
    assert str(one) == '1.2 mistakes to expect: 0.5 of 2 boxes wrong, 0.7 objects missed'
    np.testing.assert_allclose([one.wrong, one.missed, one.mistakes], [0.5, 0.7, 1.2], rtol=1e-6)


@pytest.mark.parametrize(('threshold', 'boxes', 'missed'), [
    (0.5, [(0.9, 0, 0), (0.4, 1, 3)], 0),  # the same object
    (0.5, [(0.9, 0, 0), (0.4, 1, 4)], 0.4),
    (0.5, [(0.09, 0, 0)], 0), (0.5, [(0.1, 0, 0)], 0.1), (0.5, [(0.5, 0, 0)], 0),
    ([0.5, math.inf], [(0.4, 0, 0), (0.95, 1, 50), (0.3, 1, 90)], 0.4),  # a class that is left out
    ([0.5, 0.8], [(0.6, 0, 0), (0.7, 1, 50)], 0.7)])
def test_dropped_boxes_count_as_missed_objects(threshold, boxes, missed):
    one, = chosen(1, threshold, found(*boxes))
    assert one.missed == pytest.approx(missed)
    assert one.dropped.scores.sum() == pytest.approx(missed)


@given(st.lists(SCORES, min_size=1, max_size=8), st.integers(1, 9))
@examples(100)
def test_images_are_those_with_most_mistakes_and_the_first_of_equal_ones(images, count):
    def mistakes(scores):
        return sum(1 - score if score >= 0.3 else score if score >= 0.1 else 0 for score in np.float32(scores).tolist())
    result = chosen(count, 0.3, *(found(*((score, 0, 20 * place) for place, score in enumerate(scores)))
                                  for scores in images))
    expected = sorted(map(mistakes, images), reverse=True)[:count]
    np.testing.assert_allclose([one.mistakes for one in result], expected, atol=1e-5)
    assert all(before.source.file < after.source.file for before, after in pairwise(result)
               if before.mistakes == after.mistakes)


def test_of_equal_images_the_first_are_kept():
    assert [one.source.name for one in chosen(2, 0.5, *[found((0.75, 0, 0))] * 4)] == ['0.jpg', '1.jpg']


def test_write_lists_and_draws(tmp_path):
    uncertain = Uncertain(2, DETECTOR, 0.5)
    for name, score in (('a.png', 0.9), ('b c.png', 0.4), ('ä.png', 0.6)):
        Image.new('RGB', (60, 20)).save(tmp_path / name)
        every = found((score, 1, 5))
        uncertain.add(Source(tmp_path / name, name), every.above(0.5), every)
    lines = uncertain.write(tmp_path)
    assert lines == ['b c.png\t0.4 mistakes to expect: 0.0 of 0 boxes wrong, 0.4 objects missed',
                     'ä.png\t0.4 mistakes to expect: 0.4 of 1 boxes wrong, 0.0 objects missed']
    assert (tmp_path / 'uncertain.txt').read_text('utf-8').splitlines() == lines
    with Image.open(tmp_path / 'uncertain.png') as sheet:
        assert (np.asarray(sheet)[18:, :320].max(axis=2) > 0).sum() > 500  # boxes on black images
    assert [line.partition('\t')[0] for line in uncertain.write(tmp_path, {'b c.png': 'x/b_c.png', 'ä.png': 'x/ä.png'})
            ] == ['x/b_c.png', 'x/ä.png']


def test_write_without_images_draws_nothing(tmp_path):
    assert Uncertain(2, DETECTOR, 0.5).write(tmp_path) == []
    assert not (tmp_path / 'uncertain.png').exists()
