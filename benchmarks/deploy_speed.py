"""Compare the speed of exported files with the checkpoint in mmdet, from image file to boxes."""
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from mmdet.apis import inference_detector
from mmengine.dataset import Compose
from torch import nn

from benchmarks.scaled_detector import scaled_detector
from benchmarks.timing import Quartiles, race
from ghostdet.deploy.exporter import NEEDED, check_packages, manifest_of
from ghostdet.deploy.program import UnsupportedError, program_of
from ghostdet.errors import UserError
from ghostdet.infer.detections import Detections
from ghostdet.infer.exported import ExportedDetector
from ghostdet.packaged_configs import config_name
from ghostdet.progress import progress
from ghostdet.tables import aligned_table, markdown_table
from ghostdet.training.build import Trained
from ghostdet.training.config_file import read_config
from ghostdet.training.datasets import dataset_of
from ghostdet.training.provenance import machine
from ghostdet.training.trained_detector import read_detector

HEADER = ('', 'ms an image', 'quarters', 'times as fast', 'quarters')


@dataclass(frozen=True)
class DeploySpeed:
    """Seconds per image of each contestant, round by round; the others are compared with the first contestant."""

    what: str
    seconds: dict[str, tuple[float, ...]]

    def times(self, name: str) -> Quartiles:
        """Return milliseconds per image."""
        return Quartiles.of([1000 * value for value in self.seconds[name]])

    def ratios(self, name: str) -> Quartiles:
        """Return how many times as fast as the first contestant, compared round by round."""
        first = next(iter(self.seconds.values()))
        return Quartiles.of([one / other for one, other in zip(first, self.seconds[name])])

    def lines(self) -> list[list[str]]:
        """Return a header, and a line for each contestant."""
        lines = [list(HEADER)]
        for name in self.seconds:
            time, ratio = self.times(name), self.ratios(name)
            lines.append([name, f'{time.median:.1f}', f'{time.low:.1f} to {time.high:.1f}', f'{ratio.median:.2f}',
                          f'{ratio.low:.2f} to {ratio.high:.2f}'])
        return lines

    def to_text(self) -> str:
        """Return an aligned table for a terminal."""
        return f'{self.what}\n{aligned_table(self.lines(), left=None)}'

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        return f'{self.what}\n\n{markdown_table(self.lines())}\n'

    def draw(self, out: Path) -> None:
        """Draw a bar chart of milliseconds per image as a PNG; the error bars are the quartiles."""
        figure = Figure(figsize=(8, 0.6 * len(self.seconds) + 1.4), layout='constrained')
        axes = figure.subplots()
        for index, name in enumerate(self.seconds):
            time = self.times(name)
            ends = [[time.median - time.low], [time.high - time.median]]
            axes.barh(index, time.median, xerr=ends, color='tab:blue', alpha=0.8)
            axes.text(time.high, index, f'  {self.ratios(name).median:.2f}x', va='center')
        axes.set_yticks(range(len(self.seconds)), list(self.seconds))
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set(xlabel='ms an image, from file to boxes')
        figure.suptitle(self.what, fontsize=8)
        figure.savefig(out, dpi=110)


MMDET = 'PyTorch, inference_detector'


def measure(configs: Sequence[str], checkpoint: str | None, images: Sequence[Path], scale: tuple[int, int] | None,
            rounds: int) -> DeploySpeed:
    """Export detectors, and time mmdet with the first one and all exported files in turns, from image files to boxes.

    Args:
        checkpoint: trained weights of a single config; None: random weights that give many detections.
        scale: width and height that images must fit into, in pixels; None: as in the configs.

    Raises:
        UserError: a config or the checkpoint cannot be used, or a package is missing.
    """
    if checkpoint and len(configs) > 1:
        raise UserError('--checkpoint goes with one config')
    check_packages(*{name for names in NEEDED.values() for name in names})
    calls: dict[str, Callable[[], list]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for index, config in enumerate(configs):
            trained = read_detector(checkpoint, config) if checkpoint else untrained(config)
            _resize(trained, scale)
            calls |= {} if calls else {MMDET: _mmdet(trained, images)}
            (Path(folder) / str(index)).mkdir()
            for name, (_, detector) in exported_detectors(trained, images, Path(folder) / str(index)).items():
                own = name if len(configs) == 1 else f'{config_name(config)}, {name}'
                calls[own] = partial(detect_in_files, detector, images)
        seconds = list(progress(race(list(calls.values()), rounds), desc='rounds', total=rounds))
    fits = manifest_of(trained, None, '').scale if scale is None else scale
    what = (f'{", ".join(map(config_name, configs))}, {"trained" if checkpoint else "random weights"}, {len(images)} '
            f'images made to fit into {fits[0]}x{fits[1]}, {rounds} rounds; {machine(0)}, {torch.get_num_threads()} '
            'threads')
    return DeploySpeed(what, {name: tuple(value / len(images) for value in values)
                              for name, values in zip(calls, zip(*seconds))})


def untrained(config: str, scale: tuple[int, int] | None = None) -> Trained:
    """Return a detector with random weights that gives many detections; `scale` as in `measure`."""
    trained = scaled_detector(read_config(config, {}), config)
    for layer in trained.model.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None and not layer.bias.any():
            # exporters leave zeros out, and then int8 takes another constant for the bias
            nn.init.normal_(layer.bias, std=1e-3)
    _resize(trained, scale)
    return trained


def _resize(trained: Trained, scale: tuple[int, int] | None) -> None:
    for step in dataset_of(trained.cfg, 'test').pipeline:
        for name in ('scale', 'size'):  # the latter is that of Pad
            if scale and name in step:
                step[name] = scale


def _mmdet(trained: Trained, images: Sequence[Path]) -> Callable[[], list]:
    trained.model.cfg = trained.cfg  # mmdet reads it here
    pipeline = Compose(dataset_of(trained.cfg, 'test').pipeline)
    return lambda: [inference_detector(trained.model, str(file), pipeline) for file in images]


def detect_in_files(detector: ExportedDetector, images: Sequence[Path]) -> list[Detections]:
    """Find objects in image files, one after the other."""
    return [detector.run([detector.prepare(file.read_bytes())])[0] for file in images]


def exported_detectors(trained: Trained, images: Sequence[Path],
                       folder: Path) -> dict[str, tuple[Path, ExportedDetector]]:
    """Export a detector to all formats; return each file and the opened detector by runtime and precision.

    Args:
        images: to calibrate int8 with.
        folder: an empty folder.
    """
    from ghostdet.deploy.convert import to_onnx, to_openvino
    from ghostdet.deploy.ncnn_writer import to_ncnn
    program, manifest, cores = program_of(trained.model), manifest_of(trained, None, ''), torch.get_num_threads()
    source, whole, small, phone = folder / 'a.onnx', folder / 'a.xml', folder / 'b.xml', folder / 'a.ncnn.param'
    to_onnx(program, manifest, source)
    to_openvino(source, manifest, whole)
    to_openvino(source, manifest, small, images)
    detectors = {'ONNX Runtime, fp32': (source, ExportedDetector(source, threads=cores)),
                 'OpenVINO, fp32': (whole, ExportedDetector(whole, threads=cores))}
    with contextlib.suppress(UserError):  # not every processor supports bf16
        detectors['OpenVINO, bf16'] = whole, ExportedDetector(whole, 'bf16', cores)
    detectors['OpenVINO, int8'] = small, ExportedDetector(small, threads=cores)
    with contextlib.suppress(UnsupportedError):  # detectors with two stages
        to_ncnn(program, manifest_of(trained, None, '', fixed=True), phone)
        detectors['ncnn, fp32'] = phone, ExportedDetector(phone, threads=cores)
    return detectors
