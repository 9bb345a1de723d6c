"""Compare the paper's parameters and MACs of Ghost networks with our own count. Source: arXiv 1911.11907, section 4.

python -m benchmarks.paper_tables --out work_dirs/paper_tables
"""
import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vgg import cfgs, make_layers

from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.files import make_folder, write_whole
from ghostdet.models.ghostify import ghostify
from ghostdet.tables import aligned_table, markdown_table
from ghostdet.training.counting import Count, count, imagenet

HEADER = ('network', 's', 'd', 'params M, paper', 'counted', 'differs', 'MACs M, paper', 'counted', 'differs')
NOTES = (
    'MACs: multiply-accumulates of convolutions and linear layers, which the paper calls FLOPs; VGG-16 and ResNet-56 '
    'on images of 32x32, the others of 224x224. Parameters: with norms and biases. -: not in the paper, or the plain '
    'network',
    'Replaced: in VGG-16 (classifier 512-512-10) and ResNet-56 (shortcuts without weights) every convolution, in '
    'ResNet-50 every one but the first',
    'VGG-16, MACs: the paper cuts decimals off, 163.6 to 163 and 65.7 to 65, which is 1.0% of the last',
)


@dataclass(frozen=True)
class PaperRow:
    """One network: the paper's figures and our count."""

    network: str
    ratio: int | None  # None: the plain network
    dw_size: int | None  # None: the plain network
    parameters: float | None  # in the paper, in millions; None: not in the paper
    macs: float | None  # in the paper, in millions; None: not in the paper
    counted: Count
    explanation: str = ''  # of a difference larger than rounding

    def cells(self) -> list[str]:
        """Return the cells of the row, in the order of `HEADER`."""
        ratio, dw_size = (('-' if value is None else str(value)) for value in (self.ratio, self.dw_size))
        return [self.network, ratio, dw_size, *_compared(self.parameters, self.counted.parameters / 1e6, 3),
                *_compared(self.macs, self.counted.macs / 1e6, 1)]


@dataclass(frozen=True)
class PaperTables:
    """All rows of the comparison."""

    rows: tuple[PaperRow, ...]

    def to_text(self) -> str:
        """Return an aligned table for a terminal, and the notes."""
        return '\n'.join([aligned_table([HEADER, *(row.cells() for row in self.rows)]), *self._notes()])

    def to_markdown(self) -> str:
        """Return the same table and notes as Markdown."""
        return '\n\n'.join([markdown_table([HEADER, *(row.cells() for row in self.rows)]), *self._notes()]) + '\n'

    def to_json(self) -> str:
        """Return a list with one entry per row, unscaled; null: not in the paper, or the plain network."""
        return json.dumps([dict(network=row.network, ratio=row.ratio, dw_size=row.dw_size,
                                paper_parameters=_millions(row.parameters), counted_parameters=row.counted.parameters,
                                paper_macs=_millions(row.macs), counted_macs=row.counted.macs,
                                explanation=row.explanation) for row in self.rows], indent=1)

    def _notes(self) -> Iterator[str]:
        yield from NOTES
        yield from (f'{row.network}, s = {row.ratio}: {row.explanation}' for row in self.rows if row.explanation)


def _compared(paper: float | None, counted: float, digits: int) -> list[str]:
    if paper is None:
        return ['-', f'{counted:.{digits}f}', '-']
    return [f'{paper:g}', f'{counted:.{digits}f}', f'{counted / paper - 1:+.1%}']


def _millions(value: float | None) -> int | None:
    return None if value is None else round(value * 1e6)


# The paper's rows: (s, d) -> parameters and multiply-accumulates, both in millions.
PLAIN = (None, None)
SETTINGS = (PLAIN, (2, 3), (3, 3), (4, 3), (5, 3), (2, 1), (2, 5), (2, 7))
VGG16 = {PLAIN: (15, 313), (2, 3): (7.7, 158), (3, 3): (5.2, 107), (4, 3): (4.0, 80), (5, 3): (3.3, 65),
         (2, 1): (7.6, 157), (2, 5): (7.7, 160), (2, 7): (7.7, 163)}
RESNET56 = {PLAIN: (0.85, 125), (2, 3): (0.43, 63)}
RESNET50 = {PLAIN: (25.6, 4100), (2, 3): (13.0, 2200), (4, 3): (6.5, 1200)}
GHOSTNET = {0.5: (2.6, 42), 1.0: (5.2, 141), 1.3: (7.3, 226)}


def paper_tables() -> PaperTables:
    """Count all networks of the paper's tables, and VGG-16 and ResNet-56 in all `SETTINGS`."""
    rows = [*_rows('VGG-16', vgg16, 32, VGG16, SETTINGS), *_rows('ResNet-56', resnet56, 32, RESNET56, SETTINGS),
            *_rows('ResNet-50', resnet50, 224, RESNET50, RESNET50, skip=('conv1',))]
    for width, figures in GHOSTNET.items():
        classifier = imagenet(dict(type='GhostNet', width=width)).classifier
        assert classifier is not None
        rows.append(PaperRow(f'GhostNet {width}x', 2, 3, *figures, classifier))
    return PaperTables(tuple(rows))


def vgg16() -> nn.Module:
    """VGG-16 for 32x32 pixels and 10 classes. (N, 3, 32, 32) -> (N, 10)."""
    classifier = nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    return nn.Sequential(make_layers(cfgs['D'], batch_norm=True), nn.Flatten(), *classifier)


def resnet56() -> nn.Module:
    """ResNet-56 (arXiv 1512.03385, section 4.2) for 32x32 pixels and 10 classes. (N, 3, 32, 32) -> (N, 10)."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for planes in (16, 32, 64):
        for _ in range(9):
            wider = planes != channels
            shortcut = Padded() if wider else None
            layers.append(BasicBlock(channels, planes, stride=2 if wider else 1, downsample=shortcut))
            channels = planes
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


class Padded(nn.Module):
    """ResNet's shortcut without weights. (N, C, H, W) -> (N, 2C, ceil(H/2), ceil(W/2))."""

    def forward(self, x: Tensor) -> Tensor:
        """Return every second pixel and C more channels of zeros: (N, C, H, W) -> (N, 2C, ceil(H/2), ceil(W/2))."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))


def _rows(name: str, build: Callable[[], nn.Module], size: int, figures: dict, settings: Iterable[tuple],
          skip: Sequence[str] = ()) -> Iterator[PaperRow]:
    """Yield the row of a network for each setting."""
    for ratio, dw_size in settings:
        with torch.device('meta'):
            network = build()
        if ratio is not None:
            ghostify(network, ratio, dw_size, skip)
        counted = count(network, torch.empty(1, 3, size, size, device='meta'))
        parameters, macs = figures.get((ratio, dw_size), (None, None))
        explanation = _explained(network, ratio, counted) if ratio and parameters else ''
        yield PaperRow(name, ratio, dw_size, parameters, macs, counted, explanation)


def _explained(network: nn.Module, ratio: int, counted: Count) -> str:
    """Return a likely reason why the paper's figures differ by more than rounding; empty: none known."""
    if isinstance(network, ResNet):
        divided = counted.parameters - network.fc.weight.numel() * (1 - 1 / ratio)
        return (f'{divided / 1e6:.2f} M parameters come out if the weights of the classifier, which is no convolution, '
                'are divided by s too; the MACs are the paper\'s to its two digits')
    has_shortcuts = any(isinstance(module, BasicBlock) for module in network.modules())
    return "both of the paper's figures are those of d = 1, in its row here" if has_shortcuts else ''


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/paper_tables'), metavar='DIR',
                        help='folder for paper_tables.md and paper_tables.json; default %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Count the networks, print the table and write it."""
    out = parse(arguments).out
    make_folder(out, '--out')
    table = paper_tables()
    write_whole(out / 'paper_tables.md', table.to_markdown().encode())
    write_whole(out / 'paper_tables.json', table.to_json().encode())
    print(f'{table.to_text()}\n\ntables: {out}/')


if __name__ == '__main__':
    sys.exit(door.run(main))
