"""The paper's table 9: its numbers, and the measured ones; on request also those of GhostNet's successors.

Source: GhostNet: More Features from Cheap Operations, CVPR 2020, arXiv 1911.11907, Table 9.
"""
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from ghostdet.tables import aligned_table, markdown_table

NOT_RUN = 'not run'
DETECTORS = {'retinanet': 'RetinaNet', 'faster-rcnn': 'Faster R-CNN'}
SIZES = ('AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large')


@dataclass(frozen=True)
class Backbone:
    """A backbone: one row of the table for each detector."""

    title: str
    paper_macs: int | None  # multiply-accumulates at 224x224; the paper calls them FLOPs; None: not in the paper


PAPER = {
    'mobilenetv2_1.0x': Backbone('MobileNetV2 1.0x', 300_000_000),
    'mobilenetv3_1.0x': Backbone('MobileNetV3-Large 1.0x', 219_000_000),
    'ghostnet_1.1x': Backbone('GhostNet 1.1x', 164_000_000),
}
SUCCESSORS = {
    'repghostnet_1.11x': Backbone('RepGhostNet 1.11x', None),
    'ghostnetv2_1.0x': Backbone('GhostNetV2 1.0x', None),
    'ghostnetv3_1.0x': Backbone('GhostNetV3 1.0x', None),
}
BACKBONES = PAPER | SUCCESSORS
CELLS = tuple(f'{detector}_{backbone}' for detector in DETECTORS for backbone in PAPER)


def family_cells(mini: bool) -> tuple[str, ...]:
    """Return the cells of GhostNet's successors. In a rehearsal, there is RetinaNet alone."""
    detectors = ['retinanet'] if mini else list(DETECTORS)
    return tuple(f'{detector}_{backbone}' for detector in detectors for backbone in SUCCESSORS)


@dataclass(frozen=True)
class Result:
    """The measurements of one finished training run, and how it was made."""

    metrics: dict[str, float | None]  # COCO's twelve numbers, after the last epoch
    ap_by_epoch: list[tuple[int, float]]
    # hours of training steps, without evaluation; None if the run was too short for mmengine to log a step
    hours: float | None
    images_per_second: float | None  # in training, from the median step
    made: dict[str, str | int | bool]  # seed, split, versions, machine

    @classmethod
    def from_json(cls, text: str) -> 'Result':
        """Read what `json.dumps(asdict(result))` wrote."""
        content = json.loads(text)
        return cls(**{**content, 'ap_by_epoch': [(epoch, ap) for epoch, ap in content['ap_by_epoch']]})


@dataclass(frozen=True)
class Cell:
    """One detector with one backbone."""

    name: str  # one of CELLS or of `family_cells`
    macs: int | None  # of the backbone as a classifier at 224x224
    parameters: int  # of the detector
    paper_ap: float | None  # None if it cannot be compared, as in a rehearsal
    result: Result | None  # None: not run

    @property
    def backbone(self) -> Backbone:
        """The backbone of this cell: its title and the paper's number of multiply-accumulates."""
        return BACKBONES[self.name.split('_', 1)[1]]

    @property
    def detector(self) -> str:
        """The cell's detector, as text."""
        return DETECTORS[self.name.split('_', 1)[0]]

    @property
    def ap(self) -> float | None:
        """The measured AP, from 0 to 1; None if not run."""
        return self.result.metrics['AP'] if self.result else None

    @property
    def difference(self) -> float | None:
        """The measured AP minus the paper's, both from 0 to 1. None: not run, or not comparable."""
        return None if self.ap is None or self.paper_ap is None else self.ap - self.paper_ap


# Header of each column, and a function for its text.
COLUMNS: tuple[tuple[str, Callable[[Cell], str]], ...] = (
    ('detector', lambda cell: cell.detector),
    ('backbone', lambda cell: cell.backbone.title),
    ('FLOPs, paper', lambda cell: _millions(cell.backbone.paper_macs)),
    ('FLOPs, counted', lambda cell: _millions(cell.macs)),
    ('detector params', lambda cell: f'{cell.parameters / 1e6:.2f} M'),
    ('AP, paper', lambda cell: _points(cell.paper_ap)),
    ('AP, measured', lambda cell: _points(cell.ap) if cell.result else NOT_RUN),
    ('difference', lambda cell: _points(cell.difference, '+')),
    *((name, lambda cell, name=name: _points(cell.result.metrics[name]) if cell.result else '-') for name in SIZES),
    ('training h', lambda cell: f'{cell.result.hours:.2f}' if cell.result and cell.result.hours else '-'),
    ('images/s',
     lambda cell: f'{cell.result.images_per_second:.1f}' if cell.result and cell.result.images_per_second else '-'),
)


@dataclass(frozen=True)
class Table9:
    """All cells, and a note that explains the numbers."""

    cells: tuple[Cell, ...]
    note: str

    def to_text(self) -> str:
        """Return the table as aligned columns for a terminal."""
        return aligned_table(self._lines(), left=None)

    def to_markdown(self) -> str:
        """Return the table, its note, and how each cell was made, as Markdown."""
        parts = [markdown_table(self._lines()), self.note]
        done = [(cell.name, cell.result.made) for cell in self.cells if cell.result]
        if done:
            keys = list(dict.fromkeys(key for _, made in done for key in made))
            rows = [[name, *(str(made.get(key, '-')) for key in keys)] for name, made in done]
            parts.append(markdown_table([['run', *keys], *rows]))
        return '\n\n'.join(parts) + '\n'

    def to_json(self) -> str:
        """Return all numbers unscaled as JSON; the `result` of a cell is null if it was not run."""
        cells = [dict(asdict(cell), paper_macs=cell.backbone.paper_macs, difference=cell.difference)
                 for cell in self.cells]
        return json.dumps(dict(note=self.note, cells=cells), indent=1)

    def finished(self) -> Iterator[tuple[Cell, Result]]:
        """Yield the finished cells with their results."""
        yield from ((cell, cell.result) for cell in self.cells if cell.result)

    def _lines(self) -> list[list[str]]:
        return [[header for header, _ in COLUMNS], *([text(cell) for _, text in COLUMNS] for cell in self.cells)]


def _millions(value: int | None) -> str:
    return '-' if value is None else f'{value / 1e6:.0f} M'


def _points(value: float | None, sign: str = '') -> str:
    """Return average precision as text in points of 100, as in papers."""
    return '-' if value is None else f'{100 * value:{sign}.1f}'
