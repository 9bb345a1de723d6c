"""Draws table 9: AP against multiply-accumulates, from the paper and measured, and AP by epoch."""
from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostdet.reproduce.table9 import BACKBONES, DETECTORS, Table9


def draw_table9(table: Table9, out: Path) -> None:
    """Draw AP against the backbone's FLOPs (hollow: paper, filled: measured), and AP by epoch of the finished cells."""
    figure = Figure(figsize=(12, 4.5), layout='constrained')
    left, right = figure.subplots(1, 2)
    colours = dict(zip((backbone.title for backbone in BACKBONES.values()), map(colormaps['tab10'], range(10))))
    markers, lines = dict(zip(DETECTORS.values(), 'os')), dict(zip(DETECTORS.values(), ('-', '--')))
    for cell in table.cells:
        marker, colour = markers[cell.detector], colours[cell.backbone.title]
        label = f'{cell.detector}, {cell.backbone.title}'
        paper, measured = cell.paper_ap, cell.ap
        if paper is not None and cell.backbone.paper_macs is not None:
            left.plot(cell.backbone.paper_macs / 1e6, 100 * paper, marker, color=colour, markersize=9, fillstyle='none',
                      label=f'{label}: paper {100 * paper:.1f}')
        if measured is not None and cell.macs is not None:
            left.plot(cell.macs / 1e6, 100 * measured, marker, color=colour, label=f'{label}: {100 * measured:.1f}')
    for cell, result in table.finished():
        right.plot([epoch for epoch, _ in result.ap_by_epoch], [100 * ap for _, ap in result.ap_by_epoch],
                   lines[cell.detector],
                   marker='.', color=colours[cell.backbone.title], label=f'{cell.detector}, {cell.backbone.title}')
    left.set(xlabel='backbone at 224x224, M multiply-accumulates', ylabel='box AP',
             title='AP: paper hollow, measured filled')
    right.set(xlabel='epoch', ylabel='box AP', title='AP by epoch, as measured')
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=7)
        else:
            axes.text(0.5, 0.5, 'nothing has been run', ha='center', transform=axes.transAxes)
    figure.savefig(out, dpi=110)
