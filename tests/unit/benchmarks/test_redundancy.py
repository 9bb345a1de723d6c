"""Pairs of feature maps and predictions of cheap ones, against maps that are made to be alike."""
import json
import math
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.redundancy import GhostFit, Redundancy, ghost_fit, similar_pairs
from benchmarks.redundancy_plots import MAX_PAIRS, draw_maps, draw_modules
from tests.conftest import nightly


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_copies_in_other_shades_are_the_most_similar_pairs():
    maps = noise(6, 9, 9)
    maps[4] = 3 * maps[1] + 7
    maps[5] = maps[0] + 0.5 * noise(9, 9, seed=1)
    maps[2] = -maps[3]  # an opposite is not alike
    first, second = similar_pairs(maps, 2)
    assert (first.first, first.second, first.correlation) == (1, 4, pytest.approx(1))
    assert (second.first, second.second) == (0, 5)
    assert 0.7 < second.correlation < 0.99


def test_a_map_is_in_one_pair_and_one_without_structure_in_none():
    maps = np.stack([noise(5, 5)] * 3 + [np.full((5, 5), 2.0)] * 2)
    assert [(pair.first, pair.second) for pair in similar_pairs(maps, 6)] == [(0, 1)]
    assert similar_pairs(maps[3:], 6) == ()
    assert similar_pairs(maps, 0) == ()


def test_r2_is_the_share_that_a_map_explains():
    primary = noise(2, 40, 40)
    cheap = np.stack([-2 * primary[0] + 1, primary[0] + noise(40, 40, seed=3), primary[1] * 0, noise(40, 40, seed=4)])
    fit = ghost_fit('module', primary, cheap, times=2)
    x, y = primary[0].ravel(), cheap[1].ravel()
    residual = y - np.polyval(np.polyfit(x, y, 1), x)
    assert fit.own[:2] == (pytest.approx(1), pytest.approx(1 - residual.var() / y.var()))
    assert math.isnan(fit.own[2])
    assert fit.own[3] < 0.02
    assert fit.other[0] < 0.02
    assert fit.flat == 1
    assert fit.quartiles[1] == pytest.approx(np.median([fit.own[0], fit.own[1], fit.own[3]]))


def test_with_one_primary_map_there_is_no_other():
    fit = ghost_fit('module', noise(1, 4, 4), noise(2, 4, 4), times=2)
    assert all(map(math.isnan, fit.other))
    assert math.isnan(fit.median_of_other)


def redundancy(channels=6, modules=True, pairs=2):
    maps = noise(channels, 8, 12)
    maps[-1] = 0
    fits = (ghost_fit('a.ghost1', maps[:2], maps[2:6], 2),
            GhostFit('dead', (math.nan,), (math.nan,))) if modules else ()
    return Redundancy('a.ghost1', 'random weights', np.zeros((8, 12, 3), np.uint8), maps, similar_pairs(maps, pairs),
                      fits)


def test_what_is_told_and_written():
    one = redundancy()
    text, data = one.to_text(), json.loads(one.to_json())
    assert 'a.ghost1: 6 feature maps of 8x12, 1 of them without structure; random weights' in text
    assert sum('correlation' in line for line in text.splitlines()) == len(data['pairs']) == 2
    assert data['modules'][0]['own'][:3] == list(one.modules[0].own[:3])
    assert data['modules'][1]['own'] == [None]
    assert 'no Ghost module' in redundancy(modules=False).to_text()


@pytest.mark.parametrize(('channels', 'pairs'), [(6, 2), *nightly((40, MAX_PAIRS), (300, 2))])
def test_pictures_show_every_map_and_join_the_pairs(tmp_path, channels, pairs, monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, 'savefig', lambda self, *where,
                        **how: (figures.append(self), save(self, *where, **how)))
    one = redundancy(channels, pairs=pairs)
    assert len(one.pairs) == pairs
    draw_maps(one, tmp_path / 'maps.png')
    draw_modules(one, tmp_path / 'modules.png')
    assert len(figures[0].subfigs[1].axes[0].images) == 1
    shown = [axes for axes in figures[0].subfigs[1].axes if axes.images]
    assert len(shown) == min(channels, 256)
    inside = [pair for pair in one.pairs if max(pair.first, pair.second) < 256]
    framed = [index for index, axes in enumerate(shown) if axes.patches]
    assert framed == sorted(channel for pair in inside for channel in (pair.first, pair.second))
    assert len(figures[0].subfigs[1].artists) == len(inside)
    figures[0].canvas.draw()
    legend = [text.get_window_extent() for text in figures[0].subfigs[0].texts]
    assert len(legend) == 1 + pairs
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(legend))
    assert legend[-1].y0 > 0
    image = figures[0].subfigs[0].axes[0].get_window_extent()
    assert legend[0].y0 >= image.y1 - 1
    assert image.y0 >= legend[1].y1 - 1
    labels = [label.get_text() for label in figures[1].axes[0].get_yticklabels()]
    assert labels == ['a.ghost1 (1 of 4 flat)' if channels == 6 else 'a.ghost1', 'dead (1 of 1 flat)']
    assert all(plt.imread(tmp_path / f'{name}.png').std() > 0.05 for name in ('maps', 'modules'))


