"""Compare the speed of exported files with the checkpoint in mmdet, from image file to boxes."""
import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from mmdet.apis import inference_detector
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import Compose
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ghostdet.analysis.timing import Spread, race
from ghostdet.engine.build import Trained, build_detector, seeded
from ghostdet.engine.config_file import read_config
from ghostdet.engine.datasets import classes_of, dataset_of
from ghostdet.engine.exporter import NEEDED, check_packages, exportable, manifest_of
from ghostdet.engine.provenance import machine
from ghostdet.engine.trained_detector import read_detector
from ghostdet.errors import UserError
from ghostdet.packaged_configs import config_name
from ghostdet.progress import progress
from ghostdet.runtime.detections import Detections
from ghostdet.runtime.exported import ExportedDetector
from ghostdet.tables import aligned_table, markdown_table

HEADER = ('', 'ms an image', 'quarters', 'times as fast', 'quarters')


@dataclass(frozen=True)
class DeploySpeed:
    """Seconds per image of each contestant, round by round; the others are compared with the first contestant."""

    what: str
    seconds: dict[str, tuple[float, ...]]

    def times(self, name: str) -> Spread:
        """Return milliseconds per image."""
        return Spread.of([1000 * value for value in self.seconds[name]])

    def ratios(self, name: str) -> Spread:
        """Return how many times as fast as the first contestant, compared round by round."""
        first = next(iter(self.seconds.values()))
        return Spread.of([one / other for one, other in zip(first, self.seconds[name])])

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
        for place, name in enumerate(self.seconds):
            time = self.times(name)
            ends = [[time.median - time.low], [time.high - time.median]]
            axes.barh(place, time.median, xerr=ends, color='tab:blue', alpha=0.8)
            axes.text(time.high, place, f'  {self.ratios(name).median:.2f}x', va='center')
        axes.set_yticks(range(len(self.seconds)), list(self.seconds))
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set(xlabel='ms an image, from file to boxes')
        figure.suptitle(self.what, fontsize=8)
        figure.savefig(out, dpi=110)


MMDET = 'PyTorch, inference_detector'


def measure(config: str, checkpoint: str | None, images: Sequence[Path], scale: tuple[int, int] | None,
            rounds: int) -> DeploySpeed:
    """Export a detector, and time mmdet and the exported files in turns, from image files to boxes.

    Args:
        checkpoint: trained weights; None: random weights that give many detections.
        scale: width and height that images must fit into, in pixels; None: as in the config.

    Raises:
        UserError: the config or the checkpoint cannot be used, or a package is missing.
    """
    check_packages(*{name for names in NEEDED.values() for name in names})
    trained = read_detector(checkpoint, config) if checkpoint else spread_detector(read_config(config, {}), config)
    for step in dataset_of(trained.cfg, 'test').pipeline:
        if scale and 'scale' in step:
            step.scale = scale
    trained.model.cfg = trained.cfg  # mmdet reads it here
    pipeline = Compose(dataset_of(trained.cfg, 'test').pipeline)
    calls: dict[str, Callable[[], list]] = {
        MMDET: lambda: [inference_detector(trained.model, str(file), pipeline) for file in images]}
    with tempfile.TemporaryDirectory() as folder:
        for name, detector in _exported(trained, images, Path(folder)).items():
            calls[name] = partial(_detect, detector, images)
        found = list(progress(race(list(calls.values()), rounds), desc='rounds', total=rounds))
    fits = manifest_of(trained, None, '').scale
    what = (f'{config_name(config)}, {"trained" if checkpoint else "random weights"}, {len(images)} images made to fit into '
            f'{fits[0]}x{fits[1]}, {rounds} rounds; {machine(0)}, {torch.get_num_threads()} threads')
    return DeploySpeed(what, {name: tuple(value / len(images) for value in values) for name, values in zip(calls, zip(*found))})


def _detect(detector: ExportedDetector, images: Sequence[Path]) -> list[Detections]:
    return [detector.run(detector.prepare(file.read_bytes())) for file in images]


def _exported(trained: Trained, images: Sequence[Path], folder: Path) -> dict[str, ExportedDetector]:
    from ghostdet.deploy.convert import to_onnx, to_openvino
    manifest = manifest_of(trained, None, '')
    source, whole, small = folder / 'a.onnx', folder / 'a.xml', folder / 'b.xml'
    to_onnx(exportable(trained.model), manifest, source)
    to_openvino(source, manifest, whole)
    to_openvino(source, manifest, small, images)
    detectors = {'ONNX Runtime, fp32': ExportedDetector(source), 'OpenVINO, fp32': ExportedDetector(whole)}
    with contextlib.suppress(UserError):  # not every processor supports bf16
        detectors['OpenVINO, bf16'] = ExportedDetector(whole, 'bf16')
    return {**detectors, 'OpenVINO, int8': ExportedDetector(small)}


# Standard deviations of what the last layers of the heads give, on a random picture.
SPREAD = dict(retina_cls=1, retina_reg=0.3, rpn_cls=1, rpn_reg=0.3, gfl_cls=1, rtm_cls=1, rtm_reg=1, multi_level_conv_cls=1,
              multi_level_conv_reg=0.3, multi_level_conv_obj=1, convs_pred=1)
WEIGHTS = dict(fc_cls=0.1, fc_reg=0.02)  # standard deviations of the weights of layers that see boxes only
RARE = ('retina_cls', 'gfl_cls', 'rtm_cls')  # give a score for each class, most of which are low


def spread_detector(cfg: Config, name: str, seed: int = 0) -> Trained:
    """Build an untrained detector with many detections and widely spread scores; nearly equal scores are rare.

    Raises:
        UserError: the detector cannot be built.
    """
    with torch.no_grad(), seeded(seed):
        model = build_detector(cfg, name)
        _calibrate(model)
        for name, layer in _last_layers(model):
            if name in WEIGHTS:
                layer.weight.normal_(0, WEIGHTS[name])
                layer.bias.zero_()
    return Trained(model, tuple(classes_of(cfg, 'test')), cfg)


def _calibrate(model: nn.Module) -> None:
    """Scale batch norms and the last layers of the heads, so that signals keep their size on their way through the layers.

    They are scaled for a random picture with details of all sizes, like a photograph.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the statistics become those of the picture
        norm.train()
    handles = [layer.register_forward_hook(partial(_scale, SPREAD[name], -2. if name in RARE else 0.))
               for name, layer in _last_layers(model) if name in SPREAD]
    picture = sum(nn.functional.interpolate(torch.randn(1, 3, side, side), 512) for side in (4, 16, 64, 512))
    data = model.data_preprocessor(dict(inputs=[(128 + 30 * picture[0]).clamp(0, 255).byte()], data_samples=[DetDataSample()]))
    (model.rpn_head if isinstance(model, TwoStageDetector) else model.bbox_head)(model.extract_feat(data['inputs']))
    for handle in handles:
        handle.remove()
    for norm in norms:
        norm.running_var.clamp_(min=norm.running_var.mean())  # what is still in this picture is not still in others
    model.eval()


def _last_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            yield name.rstrip('.0123456789').split('.')[-1], layer  # layers of several levels have numbers


def _scale(spread: float, bias: float, layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    """Scale a layer so that its output has the given standard deviation and bias; return that output."""
    factor = spread / output.std().clamp(min=1e-9)
    output = (output - layer.bias[:, None, None]) * factor + bias
    layer.weight.mul_(factor)
    layer.bias.fill_(bias)
    return output
