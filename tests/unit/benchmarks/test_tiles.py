"""The generated large images, and the table, of the benchmark of tiles."""
import numpy as np

from benchmarks.tiles import DIAMETER, Row, picture, table


def test_picture_is_the_same_each_time_and_has_its_discs_inside():
    (pixels, boxes), again = (picture(600, np.random.default_rng(1)) for _ in range(2))
    assert pixels.shape == (600, 600, 3)
    assert (pixels == again[0]).all()
    assert boxes == again[1]
    assert len(boxes) == 2  # 60 of 3000 x 3000 pixels
    for box in boxes:
        x, y, width, height = box['bbox']
        assert width == height == DIAMETER
        assert 0 <= min(x, y) <= max(x, y) <= 600 - DIAMETER
        middle = pixels[y + 15:y + 25, x + 15:x + 25].reshape(-1, 3)
        assert (middle == middle[0]).all()  # a disc is flat
        assert int(np.argmax(middle[0])) == {1: 2, 2: 1, 3: 0}[box['category_id']]


def test_table_has_a_line_for_each_way():
    assert table([Row('whole', 'whole images at 416', 0.0123, 0.1, 0.2, 3.25, 0.05)]).splitlines()[2] == (
        '| whole | whole images at 416 | 0.012 | 0.100 | 0.200 | 3.2 | 0.05 |')
