"""Light detectors side by side on a CPU: cost, file sizes, time from an image file to boxes, and published AP."""
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.contestants import LIGHT, by_runtime, config_file, deployed
from benchmarks.deploy_speed import detect_in_files, exported_detectors, untrained
from benchmarks.timing import race
from ghostdet.deploy.exporter import NEEDED, check_packages
from ghostdet.deploy.ncnn_writer import Network
from ghostdet.deploy.program import program_of
from ghostdet.files import write_whole
from ghostdet.infer.sessions import parts
from ghostdet.models.folding import fold
from ghostdet.progress import progress
from ghostdet.tables import markdown_table
from ghostdet.training.counting import count
from ghostdet.training.provenance import machine, versions

ENTRIES = (*product(LIGHT, (320, 416)), ('rtmdet_tiny_8xb32-300e_coco', 640))  # detector and side of its square input
NANODET, YOLOX, RTMDET = ('https://github.com/RangiLyu/nanodet', 'https://github.com/Megvii-BaseDetection/YOLOX',
                          'https://github.com/open-mmlab/mmdetection/tree/main/configs/rtmdet')
PUBLISHED = {(LIGHT[0], 320): (27.0, NANODET), (LIGHT[0], 416): (30.4, NANODET),
             ('yolox_nano_8xb8-300e_coco', 416): (25.8, YOLOX), ('rtmdet_tiny_8xb32-300e_coco', 640): (40.9, RTMDET)}
ALONE = {'ONNX Runtime, fp32': 'onnxruntime', 'OpenVINO, fp32': 'openvino', 'OpenVINO, int8': 'openvino-int8',
         'ncnn, fp32': 'ncnn'}
MARKERS = {'ONNX Runtime, fp32': ('^', 'tab:orange'), 'OpenVINO, fp32': ('o', 'tab:blue'),
           'OpenVINO, bf16': ('s', 'tab:purple'), 'OpenVINO, int8': ('x', 'tab:green'), 'ncnn, fp32': ('v', 'tab:red')}


@dataclass(frozen=True)
class Measured:
    """A detector with a square input in a runtime.

    Attributes:
        side: of the input, in pixels.
        parameters, macs: numbers, with branches folded.
        megabytes: size of the exported file with its weights.
        seconds: from an image file to boxes, for one image, round by round.
        network: of backbone, neck and head alone, round by round; empty if that was not measured.
    """

    detector: str
    side: int
    parameters: int
    macs: int
    runtime: str
    megabytes: float
    seconds: tuple[float, ...]
    network: tuple[float, ...]

    @property
    def published(self) -> tuple[float, str] | None:
        """The published AP of this detector at this size and its source; None: nobody has published one."""
        return PUBLISHED.get((self.detector, self.side))


@dataclass(frozen=True)
class LightTable:
    """All that was measured on one machine.

    Attributes:
        machine: the machine, the versions and the images, in words.
    """

    machine: str
    rows: tuple[Measured, ...]

    def to_json(self) -> str:
        """Return all figures."""
        return json.dumps(dict(machine=self.machine, rows=[asdict(row) for row in self.rows]), indent=1)

    @classmethod
    def read(cls, text: str) -> 'LightTable':
        """Return the table that `to_json` wrote."""
        content = json.loads(text)
        rows: list[dict[str, Any]] = [
            {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
            for row in content['rows']]
        return cls(content['machine'], tuple(Measured(**row) for row in rows))

    def to_markdown(self) -> str:
        """Return the tables as Markdown."""
        return '\n\n'.join((
            self.machine, 'Milliseconds for one image, from its file to boxes, medians:',
            markdown_table(list(self._whole())),
            'Milliseconds for one image, backbone, neck and head alone, medians:',
            markdown_table(list(self._alone())))) + '\n'

    def draw(self, out: Path) -> None:
        """Draw published AP against milliseconds from file to boxes as a PNG."""
        figure = Figure(figsize=(8, 5), layout='constrained')
        axes = figure.subplots()
        for (detector, side), rows in self._groups():
            if rows[0].published is None:
                continue
            height, times = rows[0].published[0], [1000 * median(row.seconds) for row in rows]
            axes.plot(times, [height] * len(times), color='lightgrey', zorder=0)
            for row, time in zip(rows, times):
                marker, colour = MARKERS[row.runtime]
                axes.plot(time, height, marker, color=colour, label=row.runtime)
            axes.annotate(f'{_name(detector)} {side}', (max(times), height), xytext=(8, 0), textcoords='offset points',
                          fontsize=8, va='center')
        axes.set(xlabel='ms for one image, from its file to boxes', ylabel='COCO AP, as published')
        axes.set_xlim(0, 1.35 * axes.get_xlim()[1])
        axes.grid(alpha=0.3)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels())))  # each label once
        axes.legend(handles.values(), handles.keys())
        figure.suptitle(self.machine, fontsize=7)
        figure.savefig(out, dpi=110)

    def _groups(self) -> list[tuple[tuple[str, int], list[Measured]]]:
        keys = dict.fromkeys((row.detector, row.side) for row in self.rows)
        return [(key, [row for row in self.rows if (row.detector, row.side) == key]) for key in keys]

    def _whole(self) -> Iterator[list[str]]:
        runtimes, times = self._times('seconds')
        yield ['detector', 'input', 'COCO AP', 'parameters M', 'MACs G', *runtimes]
        for (key, rows), cells in zip(self._groups(), times):
            published = rows[0].published
            yield [_name(key[0]), str(key[1]), f'[{published[0]:.1f}]({published[1]})' if published else 'not run',
                   f'{rows[0].parameters / 1e6:.2f}', f'{rows[0].macs / 1e9:.2f}', *cells]

    def _alone(self) -> Iterator[list[str]]:
        runtimes, times = self._times('network')
        yield ['detector', 'input', *runtimes]
        for (key, _), cells in zip(self._groups(), times):
            yield [_name(key[0]), str(key[1]), *cells]

    def _times(self, what: str) -> tuple[list[str], list[list[str]]]:
        """Return the runtimes, and for each detector their median milliseconds."""
        runtimes = list(dict.fromkeys(row.runtime for row in self.rows if getattr(row, what)))
        times = [{row.runtime: f'{1000 * median(getattr(row, what)):.1f}' for row in rows if getattr(row, what)}
                 for _, rows in self._groups()]
        return runtimes, [[own.get(name, '-') for name in runtimes] for own in times]


def measure_light(images: Sequence[Path], rounds: int, entries: Sequence[tuple[str, int]] = ENTRIES) -> LightTable:
    """Export detectors with random weights that give many boxes, and time all files in turns.

    Raises:
        UserError: a package is missing.
    """
    check_packages(*{name for names in NEEDED.values() for name in names})
    contestants: list[tuple[dict[str, Any], Callable[[], Any], Callable[[], Any] | None]] = []
    with TemporaryDirectory() as folder:
        for index, (detector, side) in enumerate(progress(entries, desc='export')):
            own = Path(folder) / str(index)
            own.mkdir()
            contestants += _contestants(detector, side, images, own)
    calls = [call for _, whole, alone in contestants for call in (whole, alone) if call]
    seconds = iter(list(zip(*progress(race(calls, rounds), desc='rounds', total=rounds))))
    rows = [Measured(seconds=tuple(value / len(images) for value in next(seconds)), **known,
                     network=next(seconds) if alone else ()) for known, _, alone in contestants]
    what = (f'{machine(0)}, {torch.get_num_threads()} threads; torch {versions()["torch"]}; {date.today()}; '
            f'{len(images)} images, {rounds} rounds in drawn order; random weights that give many boxes')
    return LightTable(what, tuple(rows))


def _contestants(detector: str, side: int, images: Sequence[Path],
                 folder: Path) -> Iterator[tuple[dict[str, Any], Callable[[], Any], Callable[[], Any] | None]]:
    """Yield for each runtime its file's data and two calls: from all image files to boxes, and the network alone."""
    trained = untrained(config_file(detector), (side, side))
    cost = count(Network(program_of(fold(trained.model))).to('meta'), torch.empty(1, 3, side, side, device='meta'))
    x, plain = torch.rand(1, 3, side, side), deployed(detector)
    for name, (file, opened) in exported_detectors(trained, images, folder).items():
        size = sum(part.stat().st_size for part in parts(file)) / 1e6
        known = dict(detector=detector, side=side, parameters=cost.parameters, macs=cost.macs, runtime=name,
                     megabytes=size)
        alone = (by_runtime(plain, x, ALONE[name], torch.get_num_threads(), folder / 'network.onnx')
                 if name in ALONE else None)
        yield known, partial(detect_in_files, opened, images), alone


def write_light(table: LightTable, folder: Path) -> None:
    """Write light.json, light.md and light.png into `folder`."""
    write_whole(folder / 'light.json', table.to_json().encode())
    write_whole(folder / 'light.md', table.to_markdown().encode())
    table.draw(folder / 'light.png')


def _name(detector: str) -> str:
    return detector.removesuffix('_coco').removesuffix('_416').split('_8xb')[0]
