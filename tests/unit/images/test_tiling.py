"""Where the tiles of a large image lie."""
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdet.images.tiling import suitable_overlap, tile_corners, tiles_of


@st.composite
def tiles(draw):
    size = draw(st.integers(1, 600))
    return size, draw(st.integers(0, size - 1).filter(lambda overlap: overlap < 0.9 * size))


lengths = st.integers(1, 3000)


@given(lengths, tiles())
def test_tile_corners_are_even_and_reach_both_borders(length, tile):
    size, overlap = tile
    corners = tile_corners(length, size, overlap)
    assert (corners[0], corners[-1]) == (0, max(0, length - size))
    steps = [after - before for before, after in itertools.pairwise(corners)]
    assert all(0 < step <= size - overlap for step in steps)
    assert not steps or max(steps) - min(steps) <= 1
    # one tile less would leave less overlap
    assert not steps or (len(steps) - 1) * (size - overlap) < length - size


@given(lengths, tiles(), st.data())
def test_tile_corners_hold_each_stretch_of_the_overlap_whole(length, tile, data):
    size, overlap = tile
    begin = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(begin + 1, min(length, begin + max(1, overlap))))  # one pixel: each is covered
    assert any(corner <= begin and end <= corner + size for corner in tile_corners(length, size, overlap))


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 100))
def test_tiles_of_are_inside_the_image_and_of_full_size_where_it_is_large_enough(width, height, size):
    found = tiles_of(width, height, size, size // 4)
    assert len(set(found)) == len(found)
    for left, top, right, bottom in found:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert (right - left, bottom - top) == (min(size, width), min(size, height))


def test_tiles_of_lie_row_by_row():
    assert tiles_of(100, 70, 50, 0) == [(0, 0, 50, 50), (50, 0, 100, 50), (0, 20, 50, 70), (50, 20, 100, 70)]
    assert tiles_of(30, 20, 50, 10) == [(0, 0, 30, 20)]


@pytest.mark.parametrize('overlap', [-1, 50, 60])
def test_tile_corners_refuse_an_overlap_that_does_not_fit(overlap):
    with pytest.raises(ValueError, match=f'{overlap} pixels does not fit tiles of 50'):
        tile_corners(100, 50, overlap)


def test_suitable_overlap_has_room_for_nearly_all_objects():
    assert suitable_overlap([], 416) == 42
    assert suitable_overlap([5.0] * 10, 416) == 42
    assert suitable_overlap([60.5] * 95 + [150] * 5, 416) == 61
    assert suitable_overlap([60.5] * 94 + [150] * 6, 416) == 150
    assert suitable_overlap([1000], 416) == 208
    assert suitable_overlap([1000], 1) == 0  # smaller than the tile
