"""Boxes on images."""
import numpy as np
import pytest

from ghostdet.images.drawing import colour_of, draw, text_size
from ghostdet.infer.detections import Detections


def detections(*rows, size=(100, 120)):
    """Of rows (left, top, right, bottom, score, label), best first."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(int), ('cat', 'dog'), size)


def test_box_is_where_it_is():
    image = np.zeros((100, 120, 3), np.uint8)
    drawn = draw(image, detections((20, 40, 90, 80, 0.9, 1)).drawable)
    assert (image == 0).all()
    for row, column in ((40, 60), (80, 60), (60, 20), (60, 90)):
        assert tuple(drawn[row, column]) == colour_of(1)
    assert (drawn[45:76, 25:86] == 0).all()  # nothing in it
    assert (drawn[85:] == 0).all()
    assert (drawn[:, 95:] == 0).all()


@pytest.mark.parametrize('row', [(0, 0, 120, 100), (-5, -5, 500, 500), (110, 2, 120, 9), (50, 50, 50, 50)])
def test_boxes_at_the_border_are_drawn(row):
    drawn = draw(np.zeros((100, 120, 3), np.uint8), detections((*row, 0.5, 0)).drawable)
    assert drawn.shape == (100, 120, 3)
    assert (drawn == colour_of(0)).all(axis=2).any()


def test_the_surest_lies_on_top():
    both = draw(np.zeros((100, 120, 3), np.uint8),
                detections((20, 40, 90, 80, 0.9, 1), (20, 40, 90, 80, 0.2, 0)).drawable)
    assert tuple(both[80, 60]) == colour_of(1)


def test_colours_of_classes_differ():
    assert len({colour_of(label) for label in range(80)}) == 80


@pytest.mark.parametrize(('sides', 'boxes', 'size'), [
    ((640, 480), [(0, 0, 300, 200)], 15), ((12000, 9000), [(0, 0, 40, 40)] * 3 + [(0, 0, 4000, 4000)], 12),
    ((12000, 9000), [(0, 0, 400, 100)], 100), ((12000, 9000), [], 12), ((100, 100), [(0, 0, 90, 90)], 12)])
def test_text_is_a_part_of_the_image_and_small_beside_most_boxes(sides, boxes, size):
    assert text_size(sides, boxes) == size
