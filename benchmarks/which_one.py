"""Which backbone should I take: accuracy, cost and speed of the Ghost family and the MobileNets, side by side."""
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.contestants import COMPARED, NETWORKS
from benchmarks.speed_table import SpeedTable
from ghostdet.files import write_whole
from ghostdet.models.folding import fold
from ghostdet.tables import markdown_table
from ghostdet.training.counting import Count, count
from ghostdet.weights.catalogue import CATALOGUE

# names in the catalogue
NAMES = dict(ghostnet='ghostnet_1.1x', mobilenetv2='mobilenetv2_1.0x', mobilenetv3='mobilenetv3_1.0x')
# No weights exist for GhostNet 1.1x. Its authors gave this figure in issue 17 of iamhankai/ghostnet.pytorch.
TOP1 = dict(ghostnet=(74.5, 'https://github.com/iamhankai/ghostnet.pytorch/issues/17'))
COLUMNS = {'default': 'PyTorch', 'optimized': 'optimized', 'compiled': 'compiled', 'onnxruntime': 'ONNX Runtime',
           'openvino': 'OpenVINO', 'openvino-int8': 'OpenVINO int8'}
# column -> mode, shape, task and what is compared
RATIOS = {**{COLUMNS[mode]: (mode, (800, 1344), 'inference', 'seconds')
             for mode in ('openvino', 'onnxruntime', 'openvino-int8')},
          'training step': ('default', None, 'training', 'seconds'),
          'its memory': ('default', None, 'training', 'memory')}
DRAWN = {'onnxruntime': ('^', 'tab:orange'), 'openvino': ('o', 'tab:blue'), 'openvino-int8': ('x', 'tab:green')}


@dataclass(frozen=True)
class WhichOne:
    """The table that helps to choose, from the results of `python -m benchmarks.speed backbone --preset family`.

    Attributes:
        machine: the machine and the versions, in words.
        records: one entry per network, mode and setting, as in speed.json.
    """

    machine: str
    records: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, table: SpeedTable) -> 'WhichOne':
        """Return the table for results in memory."""
        return cls.read(table.to_json())

    @classmethod
    def read(cls, text: str) -> 'WhichOne':
        """Return the table for the content of a speed.json."""
        content = json.loads(text)
        return cls(content['machine'], tuple(content['rows']))

    def to_markdown(self) -> str:
        """Return the tables as Markdown."""
        parts = [f'{self.machine}; {self.records[0]["threads"]} threads; '
                 f'medians of {self.records[0]["rounds"]} rounds',
                 markdown_table(list(self._costs())),
                 'Top-1 in per cent on ImageNet, as published there. Parameters and multiply-accumulates (MACs) at '
                 '224x224 of the folded backbone up to C5. Training step: one step of the backbone on 4 images of '
                 '320x320, and the memory that it keeps for the backward pass.']
        for shape in self._shapes():
            parts += [f'Milliseconds for one image of {shape[0]}x{shape[1]}, backbone alone, up to C5:',
                      markdown_table(list(self._times(shape)))]
        return '\n\n'.join(parts) + '\n'

    def ratios(self) -> str:
        """Return a table of what each backbone takes of GhostNet 1.1x's time and memory."""
        rows = [['backbone', *RATIOS]]
        for network in self._networks():
            cells = []
            for mode, shape, task, what in RATIOS.values():
                own, ghost = (self._find(name, mode, shape, task) for name in (network, 'ghostnet'))
                cells.append(f'{own[what] / ghost[what]:.2f}' if own and ghost else '-')
            rows.append([_name(network), *cells])
        return markdown_table(rows)

    def draw(self, out: Path) -> None:
        """Draw top-1 against milliseconds as a PNG, one chart per image size."""
        shapes = self._shapes()
        figure = Figure(figsize=(6.5 * len(shapes), 5), layout='constrained')
        for axes, shape in zip(figure.subplots(1, len(shapes), squeeze=False)[0], shapes):
            for rank, network in enumerate(sorted(self._networks(), key=top1)):
                records = {mode: self._find(network, mode, shape) for mode in DRAWN}
                times = {mode: 1e3 * record['seconds'] for mode, record in records.items() if record}
                height = top1(network)[0]
                axes.plot(times.values(), [height] * len(times), color='lightgrey', zorder=0)
                for mode, time in times.items():
                    marker, colour = DRAWN[mode]
                    axes.plot(time, height, marker, color=colour, label=COLUMNS[mode])
                right = rank % 2  # names of near heights are on different sides
                axes.text((max if right else min)(times.values(), default=0), height, f'   {_name(network)}   ',
                          fontsize=8, va='center', ha='left' if right else 'right')
            axes.set(xlabel='ms for one image', ylabel='ImageNet top-1, per cent', title=f'{shape[0]}x{shape[1]}')
            axes.set_xlim(0, 1.25 * axes.get_xlim()[1])
            axes.grid(alpha=0.3)
            handles = dict(zip(*reversed(axes.get_legend_handles_labels())))  # each label once
            axes.legend(handles.values(), handles.keys())
        figure.suptitle(self.machine, fontsize=8)
        figure.savefig(out, dpi=110)

    def _costs(self) -> Iterator[list[str]]:
        yield ['backbone', 'top-1', 'parameters M', 'MACs M', 'training step ms', 'kept MB']
        for network in self._networks():
            cost, (accuracy, source) = _cost(network), top1(network)
            trained = self._find(network, 'default', task='training')
            yield [_name(network), f'[{accuracy:.1f}]({source})', f'{cost.parameters / 1e6:.2f}',
                   f'{cost.macs / 1e6:.0f}', _milliseconds(trained),
                   f'{trained["memory"] / 1e6:.0f}' if trained else '-']

    def _times(self, shape: tuple[int, int]) -> Iterator[list[str]]:
        yield ['backbone', *COLUMNS.values()]
        for network in self._networks():
            yield [_name(network), *(_milliseconds(self._find(network, mode, shape)) for mode in COLUMNS)]

    def _networks(self) -> list[str]:
        return [network for network in COMPARED if any(record['network'] == network for record in self.records)]

    def _shapes(self) -> list[tuple[int, int]]:
        return list(dict.fromkeys((record['height'], record['width']) for record in self.records
                                  if record['task'] == 'inference'))

    def _find(self, network: str, mode: str, shape: tuple[int, int] | None = None,
              task: str = 'inference') -> dict[str, Any] | None:
        return next((record for record in self.records if (record['network'], record['mode'], record['task'])
                     == (network, mode, task) and shape in (None, (record['height'], record['width']))), None)


def write_which_one(table: SpeedTable, folder: Path) -> None:
    """Write which_one.md and which_one.png into `folder`."""
    result = WhichOne.of(table)
    write_whole(folder / 'which_one.md', f'{result.to_markdown()}\n{result.ratios()}\n'.encode())
    result.draw(folder / 'which_one.png')


def top1(network: str) -> tuple[float, str]:
    """Return the published top-1 accuracy of a backbone in per cent, and where it was published."""
    if network in TOP1:
        return TOP1[network]
    entry = CATALOGUE[_name(network)]
    return entry.top1, entry.source


def _name(network: str) -> str:
    return NAMES.get(network, network)


def _cost(network: str) -> Count:
    return count(fold(NETWORKS[network]()).to('meta'), torch.empty(1, 3, 224, 224, device='meta'))


def _milliseconds(record: dict[str, Any] | None) -> str:
    if record is None:
        return '-'
    middle = 1e3 * record['seconds']
    return f'{middle:.{1 if middle < 100 else 0}f}'
