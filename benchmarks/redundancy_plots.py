"""Draw similar feature maps, as in figure 1 of arXiv 1911.11907, and the fit of Ghost modules."""
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from benchmarks.redundancy import GhostFit, Redundancy

MAX_MAPS = 256  # maps in one figure
MAX_PAIRS = 10  # pairs with different colours
SIDE, WIDE = 2.4, 9.6  # width of the image's column and of the maps, in inches


def draw_maps(redundancy: Redundancy, file: Path) -> None:
    """Draw the image and the maps of a layer, each with its own grey scale; frame and join the similar pairs.

    At most `MAX_MAPS` maps are drawn.
    """
    maps = redundancy.maps[:MAX_MAPS]
    columns = math.ceil(math.sqrt(len(maps) * 1.6))
    rows = math.ceil(len(maps) / columns)
    size = SIDE + WIDE, max(4.8, 9.2 / columns * rows * maps.shape[1] / maps.shape[2])  # in inches
    figure = Figure(figsize=size)
    parts: Any = figure.subfigures(1, 2, width_ratios=(SIDE, WIDE))
    left, right = parts
    _draw_image(left, redundancy, size[1])
    margins = dict(wspace=0.12, hspace=0.12, left=0.01, right=0.99, bottom=0.01, top=0.99)
    tiles = right.subplots(rows, columns, squeeze=False, gridspec_kw=margins).ravel()
    for tile in tiles:
        tile.axis('off')
    for index, (tile, one) in enumerate(zip(tiles, maps)):
        tile.imshow(one, cmap='gray')
        tile.text(0.03, 0.97, index, transform=tile.transAxes, fontsize=6, va='top', color='gold')
    for index, pair in enumerate(redundancy.pairs):
        if max(pair.first, pair.second) < MAX_MAPS:
            _join(right, tiles[pair.first], tiles[pair.second], maps.shape[1:], colormaps['tab10'](index))
    figure.savefig(file, dpi=100)


def _draw_image(figure: Figure, redundancy: Redundancy, high: float) -> None:
    """Draw the left column: layer and weights, the image, a line per pair; `high` is the figure's height in inches."""
    number, (height, width) = len(redundancy.maps), redundancy.maps.shape[1:]
    lines = [redundancy.layer, redundancy.weights, f'{number} maps of {height}x{width}']
    lines += [f'the first {MAX_MAPS} are shown'] if number > MAX_MAPS else []
    lines += [f'{number - len(fit.own)} primary ones first' for fit in redundancy.modules
              if fit.name == redundancy.layer]
    figure.text(0.05, 1 - 0.15 / high, '\n'.join(lines), va='top', fontsize=9, parse_math=False)
    axes = figure.add_axes((0.05, 1 - 3.1 / high, 0.9, 1.9 / high), anchor='N')
    axes.imshow(redundancy.image)
    axes.axis('off')
    for index, pair in enumerate(redundancy.pairs):
        figure.text(0.05, 1 - (3.25 + 0.15 * index) / high,
                    f'{pair.first} and {pair.second}: correlation {pair.correlation:.3f}',
                    fontsize=9, color=colormaps['tab10'](index), va='top')


def _join(figure: Figure, first: Axes, second: Axes, size: tuple[int, int], colour: tuple) -> None:
    """Frame two maps and draw an arc between them."""
    height, width = size
    for tile in (first, second):
        tile.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=colour, linewidth=3))
    figure.add_artist(ConnectionPatch((width / 2, height / 2), (width / 2, height / 2), 'data', 'data', axesA=first,
                                      axesB=second,
                                      color=colour, linewidth=2, arrowstyle='-', connectionstyle='arc3,rad=0.15',
                                      alpha=0.9))


def draw_modules(redundancy: Redundancy, file: Path) -> None:
    """Draw how well the cheap maps of each Ghost module are predicted from primary maps; the first module is on top."""
    modules = redundancy.modules
    figure = Figure(figsize=(9, 1.4 + 0.2 * len(modules)), layout='constrained')
    axes = figure.subplots()
    rows = np.arange(len(modules))
    values = [[value for value in fit.own if not np.isnan(value)] for fit in modules]
    axes.boxplot(values, positions=rows, orientation='horizontal', widths=0.6, whis=(0, 100),
                 medianprops=dict(color='tab:blue', linewidth=2))
    axes.plot([fit.median_of_other for fit in modules], rows, 'x', color='tab:orange',
              label='from another primary map: median')
    axes.plot([], [], color='tab:blue', linewidth=2, label='from their own primary map: median, quartiles, range')
    axes.set_yticks(rows, [_label(fit) for fit in modules], fontsize=7)
    axes.set_ylim(len(modules) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel('R² of cheap maps: 1 is a copy, 0 is something new')
    axes.set_title(f'Ghost modules: {redundancy.weights}', fontsize=10, parse_math=False)
    axes.legend(fontsize=8, loc='lower center', bbox_to_anchor=(0.5, 1.04), ncols=2, frameon=False)
    figure.savefig(file, dpi=100)


def _label(fit: GhostFit) -> str:
    return fit.name + (f' ({fit.flat} of {len(fit.own)} flat)' if fit.flat else '')
