"""Draw charts of a benchmark's inference races, for backbones in float32 with the most threads used."""
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from benchmarks.speed_table import Race, Row, SpeedTable

STYLES: dict[str, Any] = {'default': '-', 'channels_last': '-.', 'optimized': '--', 'compiled': ':',
                          'onnxruntime': (0, (8, 2)), 'openvino': (0, (4, 1, 1, 1, 1, 1)),
                          'openvino-int8': (0, (1, 3)), 'ncnn': (0, (6, 1))}
MARKERS = {'default': 'o', 'channels_last': 's', 'optimized': 'D', 'compiled': '*', 'onnxruntime': '^', 'openvino': 'v',
           'openvino-int8': 'x', 'ncnn': 'P'}


def draw_sizes(table: SpeedTable, out: Path) -> None:
    """Draw time against pixels for one image, and time per image against batch size.

    The batch chart uses the image size with the most races.
    """
    figure = Figure(figsize=(13, 5.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    races = list(_inference(table))
    ones = [race for race in races if race.setting.batch == 1]
    _draw_lines(left, [(_pixels(race), race) for race in ones])
    shapes = [(race.setting.height, race.setting.width) for race in races]
    shape = max(shapes, key=shapes.count, default=(0, 0))
    chosen = [race for race in races if (race.setting.height, race.setting.width) == shape]
    _draw_lines(right, [(race.setting.batch, race) for race in chosen])
    ticks = {_pixels(race): f'{race.setting.height}x{race.setting.width}' for race in ones}
    left.set(xlabel='pixels of an image', ylabel='ms', title='time against pixels, one image')
    right.set(xlabel='images in a batch', ylabel='ms an image', title=f'time against batch, {shape[0]}x{shape[1]}')
    for axes, labels in ((left, ticks), (right, {race.setting.batch: str(race.setting.batch) for race in chosen})):
        axes.set_xticks(list(labels), list(labels.values()), rotation=30)
    figure.suptitle(table.machine, fontsize=9)
    _save(figure, out)


def draw_flops(table: SpeedTable, out: Path) -> None:
    """Draw the time of one image against multiply-accumulates, with a marker for each mode.

    The grey line is the time that the arithmetic alone would take.
    """
    figure = Figure(figsize=(7.5, 5.6), layout='constrained')
    axes = figure.subplots()
    colours = _colours(table)
    races = [race for race in _inference(table) if race.setting.batch == 1]
    for race in races:
        for row in race.rows:
            axes.plot(row.work.macs / 1e9, 1e3 * row.quartiles.median, MARKERS[row.mode], color=colours[row.network],
                      label=f'{row.network} {row.mode}', alpha=0.8)
    if races:
        peak = median(race.peak.macs for race in races)
        ends = [end(row.work.macs for race in races for row in race.rows) for end in (min, max)]
        axes.plot([macs / 1e9 for macs in ends], [1e3 * macs / peak for macs in ends], color='grey',
                  label='peak of a matrix product')
    axes.set(xlabel='G multiply-accumulates', ylabel='ms', title='backbones: time against FLOPs, one image')
    _finish(axes)
    figure.suptitle(table.machine, fontsize=9)
    _save(figure, out)


def _inference(table: SpeedTable) -> Iterator[Race]:
    """Yield the inference races in float32 with the most threads, one per setting."""
    races = [race for race in table.races if race.setting.task == 'inference' and race.setting.precision == 'float32']
    threads = max((race.setting.threads for race in races), default=0)
    yield from {race.setting: race for race in races if race.setting.threads == threads}.values()


def _draw_lines(axes: Axes, races: list[tuple[int, Race]]) -> None:
    """Draw a line for each network and mode, with the quartiles as a band; leave out the mode channels_last.

    Args:
        races: pairs of x value and race.
    """
    lines: dict[tuple[str, str], list[tuple[int, Race, Row]]] = {}
    for x, race in sorted(races, key=lambda pair: pair[0]):
        for row in race.rows:
            if row.mode != 'channels_last':
                lines.setdefault((row.network, row.mode), []).append((x, race, row))
    names = list(dict.fromkeys(network for network, _ in lines))
    for (network, mode), points in lines.items():
        colour = f'C{names.index(network)}'
        xs = [x for x, _, _ in points]
        low, middle, high = ([1e3 * getattr(row.quartiles, key) / race.setting.batch for _, race, row in points]
                             for key in ('low', 'median', 'high'))
        axes.plot(xs, middle, linestyle=STYLES[mode], marker='.', color=colour, label=f'{network} {mode}')
        axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
    _finish(axes)


def _pixels(race: Race) -> int:
    return race.setting.height * race.setting.width


def _colours(table: SpeedTable) -> dict[str, str]:
    names = dict.fromkeys(row.network for race in _inference(table) for row in race.rows)
    return {name: f'C{index}' for index, name in enumerate(names)}


def _finish(axes: Axes) -> None:
    axes.set(xscale='log', yscale='log')
    axes.grid(alpha=0.3, which='both')
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
    handles = dict(zip(*reversed(axes.get_legend_handles_labels())))  # each label once
    if handles:
        axes.legend(handles.values(), handles.keys(), fontsize=7)
    else:
        axes.text(0.5, 0.5, 'nothing of this was run', ha='center', transform=axes.transAxes)


def _save(figure: Figure, out: Path) -> None:
    figure.savefig(out, dpi=110)
