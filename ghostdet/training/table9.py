"""The paper's table 9: its cells, with published and measured figures, and its chart.

Source: GhostNet: More Features from Cheap Operations, CVPR 2020, arXiv 1911.11907, Table 9.
"""
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostdet.tables import aligned_table, markdown_table

DETECTORS = {'retinanet': 'RetinaNet', 'faster-rcnn': 'Faster R-CNN'}
# Title, and multiply-accumulates at 224x224, which the paper calls FLOPs. The published APs are `expected` in the
# configs.
PAPER = {'mobilenetv2_1.0x': ('MobileNetV2 1.0x', 300_000_000),
         'mobilenetv3_1.0x': ('MobileNetV3-Large 1.0x', 219_000_000),
         'ghostnet_1.1x': ('GhostNet 1.1x', 164_000_000)}
SUCCESSORS = {'repghostnet_1.11x': ('RepGhostNet 1.11x', None), 'ghostnetv2_1.0x': ('GhostNetV2 1.0x', None),
              'ghostnetv3_1.0x': ('GhostNetV3 1.0x', None)}
BACKBONES: dict[str, tuple[str, int | None]] = {**PAPER, **SUCCESSORS}
CELLS = tuple(f'{detector}_{backbone}' for detector in DETECTORS for backbone in PAPER)
FAMILY = tuple(f'{detector}_{backbone}' for detector in DETECTORS for backbone in SUCCESSORS)  # RetinaNet's come first


@dataclass(frozen=True)
class Cell:
    """One detector with one backbone.

    Attributes:
        name: one of `CELLS` or `FAMILY`.
        macs: multiply-accumulates of the backbone as a classifier at 224x224.
        parameters: of the detector.
        paper_ap: from 0 to 1; None: nothing to compare with, as in a rehearsal.
        result: None: not run. Else `metrics` (COCO's numbers after the last epoch, from 0 to 1; None: nothing to
            count), `ap_by_epoch` (pairs), `hours` of the training steps and `images_per_second` of the median step
            (None: too short for mmengine to log a step), and `made` (seed, split, versions, machine).
    """

    name: str
    macs: int | None
    parameters: int
    paper_ap: float | None
    result: dict[str, Any] | None = None

    @property
    def titles(self) -> tuple[str, str]:
        """Detector and backbone, as text."""
        detector, backbone = self.name.split('_', 1)
        return DETECTORS[detector], BACKBONES[backbone][0]

    @property
    def paper_macs(self) -> int | None:
        """The paper's multiply-accumulates of the backbone; None: not in the paper."""
        return BACKBONES[self.name.split('_', 1)[1]][1]

    @property
    def difference(self) -> float | None:
        """The measured AP minus the paper's, both from 0 to 1; None: not run, or not comparable."""
        return self.result['metrics']['AP'] - self.paper_ap if self.result and self.paper_ap is not None else None


def _text(value: float | None, form: str, scale: float = 1.0, unit: str = '') -> str:
    return '-' if value is None else format(scale * value, form) + unit


def _measured(key: str, missing: str = '-') -> Callable[[Cell], str]:
    return lambda cell: _text(cell.result['metrics'][key], '.1f', 100) if cell.result else missing


# Header of each column, and a function for its text. APs are in points of 100, as in papers.
COLUMNS: dict[str, Callable[[Cell], str]] = {
    'detector': lambda cell: cell.titles[0],
    'backbone': lambda cell: cell.titles[1],
    'FLOPs, paper': lambda cell: _text(cell.paper_macs, '.0f', 1e-6, ' M'),
    'FLOPs, counted': lambda cell: _text(cell.macs, '.0f', 1e-6, ' M'),
    'detector params': lambda cell: _text(cell.parameters, '.2f', 1e-6, ' M'),
    'AP, paper': lambda cell: _text(cell.paper_ap, '.1f', 100),
    'AP, measured': _measured('AP', 'not run'),
    'difference': lambda cell: _text(cell.difference, '+.1f', 100),
    **{key: _measured(key) for key in ('AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large')},
    'training h': lambda cell: _text(cell.result['hours'], '.2f') if cell.result else '-',
    'images/s': lambda cell: _text(cell.result['images_per_second'], '.1f') if cell.result else '-',
}


@dataclass(frozen=True)
class Table9:
    """All cells, of a rehearsal or of the paper's comparison."""

    cells: tuple[Cell, ...]
    rehearsal: bool

    @property
    def note(self) -> str:
        """What the numbers are."""
        data = 'in a rehearsal on small other data: do not compare it with COCO or the paper' if self.rehearsal else (
            'on COCO\'s val2017')
        return (f'AP is COCO\'s, in points of 100, after the last epoch, {data}. FLOPs are multiply-accumulates at '
                '224x224 of the backbone as a classifier. Training hours are those of the steps, without evaluation; '
                'images/s is the median over the steps.')

    def to_text(self) -> str:
        """Return the table as aligned columns for a terminal."""
        return aligned_table(self._lines(), left=None)

    def to_markdown(self) -> str:
        """Return the table, its note, and how each cell was made, as Markdown."""
        made = {cell.name: cell.result['made'] for cell in self.cells if cell.result}
        keys = list(dict.fromkeys(key for values in made.values() for key in values))
        runs = [['run', *keys],
                *([name, *(str(values.get(key, '-')) for key in keys)] for name, values in made.items())]
        return '\n\n'.join([markdown_table(self._lines()), self.note, *([markdown_table(runs)] if made else [])]) + '\n'

    def to_json(self) -> str:
        """Return all numbers unscaled as JSON; the `result` of a cell is null if it was not run."""
        cells = [dict(asdict(cell), paper_macs=cell.paper_macs, difference=cell.difference) for cell in self.cells]
        return json.dumps(dict(note=self.note, cells=cells), indent=1)

    def draw(self, out: Path) -> None:
        """Draw AP against the backbone's FLOPs (hollow: paper, filled: measured), and AP by epoch, as a PNG."""
        figure = Figure(figsize=(12, 4.5), layout='constrained')
        left, right = figure.subplots(1, 2)
        for cell in self.cells:
            detector, title = cell.titles
            marker, line = ('o', '.-') if detector == DETECTORS['retinanet'] else ('s', '.--')
            colour = f'C{[name for name, _ in BACKBONES.values()].index(title)}'
            label = f'{detector}, {title}'
            if cell.paper_ap is not None and cell.paper_macs is not None:
                left.plot(cell.paper_macs / 1e6, 100 * cell.paper_ap, marker, color=colour, fillstyle='none',
                          label=f'{label}: paper')
            if cell.result and cell.macs is not None:
                left.plot(cell.macs / 1e6, 100 * cell.result['metrics']['AP'], marker, color=colour, label=label)
            if cell.result:
                right.plot([epoch for epoch, _ in cell.result['ap_by_epoch']],
                           [100 * ap for _, ap in cell.result['ap_by_epoch']], line, color=colour, label=label)
        left.set(xlabel='backbone at 224x224, M multiply-accumulates', ylabel='box AP',
                 title='AP: paper hollow, measured filled')
        right.set(xlabel='epoch', ylabel='box AP', title='AP by epoch, as measured')
        right.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (left, right):
            if axes.lines:
                axes.legend(fontsize=7)
            else:
                axes.text(0.5, 0.5, 'nothing has been run', ha='center', transform=axes.transAxes)
        figure.savefig(out, dpi=110)

    def _lines(self) -> list[list[str]]:
        return [list(COLUMNS), *([text(cell) for text in COLUMNS.values()] for cell in self.cells)]
