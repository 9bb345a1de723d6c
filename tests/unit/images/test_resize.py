"""The size of a resized image."""
from hypothesis import given
from hypothesis import strategies as st
from mmcv import rescale_size

from ghostdet.images.resize import fitted, rescaled

sides = st.integers(1, 5000)


@given(sides, sides, st.tuples(sides, sides))
def test_rescaled_rounds_as_mmcv_and_has_no_side_of_zero(width, height, scale):
    assert rescaled(width, height, scale) == tuple(max(1, side) for side in rescale_size((width, height), scale))
    assert rescaled(width, height, scale, keep_ratio=False) == scale


@given(sides, sides, st.tuples(sides, sides))
def test_fitted_fills_one_side_of_the_box(width, height, box):
    size = fitted(width, height, box)
    assert all(1 <= side <= limit for side, limit in zip(size, box))
    assert size[0] == box[0] or size[1] == box[1]
    is_smaller = width <= box[0] and height <= box[1]
    assert fitted(width, height, box, enlarge=False) == ((width, height) if is_smaller else size)
