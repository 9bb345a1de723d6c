"""Count the parameters and multiply-accumulates of networks, and of the detectors in config files."""
import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import lcm
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, mobilenet_v3_large

from ghostdet.errors import UserError, reason
from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.backbones.ghostnetv2 import GhostNetV2
from ghostdet.models.backbones.ghostnetv3 import GhostNetV3
from ghostdet.models.backbones.repghostnet import RepGhostNet
from ghostdet.models.cheap import CHEAP
from ghostdet.models.family import GhostFamily
from ghostdet.models.folding import fold_branches
from ghostdet.models.ghost_conv import GhostConv
from ghostdet.packaged_configs import config_name
from ghostdet.tables import aligned_table, csv_table, markdown_table
from ghostdet.training.build import build_detector
from ghostdet.training.config_file import read_config
from ghostdet.training.datasets import dataset_of

COUNTED = (nn.Conv2d, nn.Linear)
# For each figure: its key, the two lines of its table header, and the divisor for display.
COLUMNS = (
    *((f'{part}_{kind}', part, unit, scale) for part in ('backbone', 'neck', 'head', 'total')
      for kind, unit, scale in (('parameters', 'params M', 1e6), ('macs', 'MACs G', 1e9))),
    ('imagenet_macs_to_c5', 'up to C5', 'MACs M', 1e6),
    ('imagenet_macs_to_last_conv', '+ last 1x1', 'MACs M', 1e6),
    ('imagenet_macs', '+ classifier', 'MACs M', 1e6),
    ('imagenet_parameters', '+ classifier', 'params M', 1e6),
)


@dataclass(frozen=True)
class Count:
    """The cost of a module: all its parameters, and the multiply-accumulates of convolutions and linear layers."""

    parameters: int
    macs: int

    def __add__(self, other: 'Count') -> 'Count':
        return Count(self.parameters + other.parameters, self.macs + other.macs)


@dataclass(frozen=True)
class ImageNetCount:
    """The cost of the backbone as an ImageNet classifier at 224x224, counted up to three layers. None: not known."""

    macs_to_c5: int | None = None
    macs_to_last_conv: int | None = None
    classifier: Count | None = None


@dataclass(frozen=True)
class DetectorComplexity:
    """The cost of one detector on one image, by part."""

    name: str
    parts: dict[str, Count]  # backbone, neck (if any) and head
    shape: tuple[int, int]  # requested height and width in pixels
    padded: tuple[int, int]  # height and width that were counted
    divisor: int  # of the padded height and width
    proposals: int | None  # boxes for the second stage; None: no second stage
    imagenet: ImageNetCount
    plain: Count | None = None  # total cost with Conv2d instead of GhostConv; None: no GhostConv

    @property
    def total(self) -> Count:
        """The sum of all parts."""
        return sum(self.parts.values(), Count(0, 0))

    def figures(self) -> dict[str, int | None]:
        """Return all figures of the table by their keys in `COLUMNS`, unscaled; None: no figure."""
        counts = {**self.parts, 'total': self.total, 'imagenet': self.imagenet.classifier}
        by_key: dict[str, int | None] = dict(imagenet_macs_to_c5=self.imagenet.macs_to_c5,
                                             imagenet_macs_to_last_conv=self.imagenet.macs_to_last_conv)
        for part, cost in counts.items():
            if cost is not None:
                by_key |= {f'{part}_parameters': cost.parameters, f'{part}_macs': cost.macs}
        return {key: by_key.get(key) for key, *_ in COLUMNS}

    def notes(self) -> Iterator[str]:
        """Yield the notes that explain the figures."""
        (height, width), (high, wide) = self.shape, self.padded
        yield (f'parts: one image of {height}x{width}, padded to {high}x{wide} (pad_size_divisor {self.divisor}); '
               'multiply-accumulates (MACs) of convolutions and linear layers')
        if self.proposals is not None:
            yield (f'head of {self.name}: RPN on all feature maps, and the box head on {self.proposals} proposals '
                   '(test_cfg.rpn.max_per_img)')
        if self.plain is not None:
            own, plain = self.total, self.plain
            yield (f'GhostConv in {self.name} saves {1 - own.parameters / plain.parameters:.1%} of the '
                   f'{plain.parameters / 1e6:.3f} M parameters and {1 - own.macs / plain.macs:.1%} of the '
                   f'{plain.macs / 1e9:.3f} G MACs that it has with Conv2d')
        yield 'branches of RepGhostNet and GhostNetV3 are folded, as for inference'
        yield ('last four columns: the backbone at 224x224, up to C5, with the last 1x1 convolution, '
               'with the ImageNet classifier')


@dataclass(frozen=True)
class ComplexityTable:
    """A table with one row per detector."""

    rows: tuple[DetectorComplexity, ...]

    def to_text(self) -> str:
        """Return an aligned table for a terminal, and the notes."""
        lines = [[''] + [line for _, line, _, _ in COLUMNS], ['config'] + [unit for _, _, unit, _ in COLUMNS],
                 *self._cells()]
        return '\n'.join([aligned_table(lines), *self._notes()])

    def to_markdown(self) -> str:
        """Return the table and the notes as Markdown."""
        header = ['config', *(f'{line}, {unit}' for _, line, unit, _ in COLUMNS)]
        return '\n\n'.join([markdown_table([header, *self._cells()]), *self._notes()]) + '\n'

    def to_json(self) -> str:
        """Return a list with one entry per config; null: no figure."""
        return json.dumps(list(self._records()), indent=1)

    def to_csv(self) -> str:
        """Return one line per config; empty: no figure."""
        return csv_table(list(self._records()))

    def _records(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            yield dict(config=row.name, height=row.shape[0], width=row.shape[1], padded_height=row.padded[0],
                       padded_width=row.padded[1], proposals=row.proposals, **row.figures(),
                       plain_parameters=row.plain and row.plain.parameters, plain_macs=row.plain and row.plain.macs)

    def _cells(self) -> list[list[str]]:
        return [[row.name,
                 *(_number(value, unit, scale) for value, (_, _, unit, scale) in zip(row.figures().values(), COLUMNS))]
                for row in self.rows]

    def _notes(self) -> list[str]:
        return list(dict.fromkeys(note for row in self.rows for note in row.notes()))  # each once, in order


def count(module: nn.Module, *inputs: Any) -> Count:
    """Count the parameters of `module` and its multiply-accumulates on `inputs`.

    Both can be on the meta device. Biases and norms count as parameters but not as multiply-accumulates. The module
    stays in evaluation mode afterwards.

    Raises:
        UserError: the work of a layer with weights cannot be counted.
    """
    return _measure(module, *inputs)[0]


def count_parts(detector: nn.Module, image: Tensor, proposals: int | None = None) -> dict[str, Count]:
    """Count the cost of a detector's backbone, neck (if any) and head on `image` (1, 3, H, W).

    Args:
        proposals: number of boxes for the box head of a two-stage detector; None: one stage. The head includes the RPN.

    Raises:
        UserError: as in `count`.
    """
    parts = {}
    parts['backbone'], features = _measure(detector.backbone, image)
    if getattr(detector, 'neck', None) is not None:
        parts['neck'], features = _measure(detector.neck, features)
    if proposals is None:
        parts['head'] = count(detector.bbox_head, features)
    else:
        box_head: Any = detector.roi_head.bbox_head
        regions = image.new_empty(proposals, box_head.in_channels, *box_head.roi_feat_size)  # (P, C, 7, 7)
        parts['head'] = count(detector.rpn_head, features) + count(box_head, regions)
    return parts


def _measure(module: nn.Module, *inputs: Any) -> tuple[Count, Any]:
    """Return the count of the module, and its output."""
    _check_countable(module)
    macs = 0

    def add(layer: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal macs
        macs += output.numel() * layer.weight[0].numel()  # weight[0] makes one output value

    handles = [layer.register_forward_hook(add) for layer in module.modules() if is_counted(layer)]
    module.eval()  # on a line of its own: eval() of mmdet's backbones returns None
    try:
        with torch.no_grad():
            output = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return Count(sum(parameter.numel() for parameter in module.parameters()), macs), output


def _check_countable(module: nn.Module) -> None:
    for name, layer in module.named_modules():
        if not is_counted(layer) and any(parameter.dim() > 1 for parameter in layer.parameters(recurse=False)):
            raise UserError(f'{type(module).__name__}: the work of layer {name or "itself"!r} ({type(layer).__name__}) '
                            'cannot be counted; only Conv2d, Linear and GhostConv can. Leave this config out')


def is_counted(layer: nn.Module) -> bool:
    """Return whether the layer's work can be counted: `weight[0]` makes one output value."""
    is_cheap = type(layer) in CHEAP.module_dict.values() and isinstance(getattr(layer, 'weight', None), nn.Parameter)
    return isinstance(layer, COUNTED) or is_cheap


def _number(value: int | None, unit: str, scale: float) -> str:
    return '-' if value is None else f'{value / scale:.{1 if unit == "MACs M" else 3}f}'


HIDDEN, CLASSES = 1280, 1000  # of the classifier of GhostNet and its successors
FAMILY: dict[str, type[GhostFamily]] = {network.__name__: network
                                        for network in (GhostNet, RepGhostNet, GhostNetV2, GhostNetV3)}
WIDTH_ARGUMENTS = ('width', 'rounding', 'ratio', 'dw_size')  # arguments of GhostNet that change its cost


def measure(file: str, shape: Sequence[int] = (800, 1333)) -> DetectorComplexity:
    """Count the cost of a config's detector on one image of `shape` (height, width), padded as the config says.

    All tensors are on the meta device: nothing is computed and no weights are read.

    Raises:
        UserError: the shape is not positive, the config is missing or invalid, or its detector cannot be counted.
    """
    return measure_config(read_config(file, {}), file, shape)


def measure_config(cfg: Config, file: str, shape: Sequence[int] = (800, 1333)) -> DetectorComplexity:
    """Count the cost as `measure` does, for a config read from `file`; removes from `cfg` what loads weights.

    Raises:
        UserError: as in `measure`.
    """
    height, width = shape
    if min(shape) < 1:
        raise UserError(f'--shape {height} {width}: height and width must be at least 1 pixel')
    detector = _build(file, cfg)
    divisor = lcm(cfg.model.get('data_preprocessor', {}).get('pad_size_divisor', 1), 32 if _pads(cfg) else 1)
    padded = (-(-height // divisor) * divisor, -(-width // divisor) * divisor)
    proposals = cfg.model.test_cfg.rpn.max_per_img if isinstance(detector, TwoStageDetector) else None
    image = torch.empty(1, 3, *padded, device='meta')
    parts = _counted(file, detector, image, proposals)
    plain_cfg, plain = _without_ghost_convs(cfg), None
    if plain_cfg is not None:
        plain = sum(_counted(file, _build(file, plain_cfg), image, proposals).values(), Count(0, 0))
    return DetectorComplexity(config_name(file), parts, (height, width), padded, divisor, proposals,
                              imagenet(cfg.model.backbone), plain)


def _pads(cfg: Config) -> bool:
    """Return whether the test pipeline pads images to one size, as RTMDet's does, and so needs whole strides."""
    return any(str(step['type']).endswith('Pad') for step in dataset_of(cfg, 'test').pipeline)


def imagenet(backbone: dict) -> ImageNetCount:
    """Count the ImageNet classifier, at 224x224, of a config's `backbone`, with its branches folded."""
    image = torch.empty(1, 3, 224, 224, device='meta')
    kind = str(backbone['type']).rsplit('.')[-1].removeprefix('Truncated')
    if kind == 'MobileNetV2':
        network = mobilenet_v2(width_mult=backbone.get('widen_factor', 1.0)).to('meta')
        return ImageNetCount(classifier=count(network, image))
    if kind == 'MobileNetV3' and backbone.get('arch', 'large') == 'large':
        return ImageNetCount(classifier=count(mobilenet_v3_large().to('meta'), image))
    if kind not in FAMILY:
        return ImageNetCount()
    network, arguments = FAMILY[kind], {name: backbone[name] for name in WIDTH_ARGUMENTS if name in backbone}
    to_last = _deployed(network(**arguments, out_indices=(4,)).to('meta'))
    layers = nn.Conv2d(to_last.arch.last, HIDDEN, 1), nn.Flatten(), nn.Linear(HIDDEN, CLASSES)
    classifier = nn.Sequential(*layers).to('meta')
    last = count(to_last, image)
    whole: Count = last + count(classifier, torch.empty(1, to_last.arch.last, 1, 1, device='meta'))
    to_c5 = _deployed(network(**arguments, out_indices=(3,)).to('meta'))
    return ImageNetCount(count(to_c5, image).macs, last.macs, whole)


def _deployed(model: nn.Module) -> nn.Module:
    """Return a network as it runs after training: branches become single convolutions. Changes `model`."""
    model.eval()  # on a line of its own: eval() of mmdet's backbones returns None
    fold_branches(model)
    return model


def _counted(file: str, detector: nn.Module, image: Tensor, proposals: int | None) -> dict[str, Count]:
    try:
        return count_parts(detector.to('meta'), image, proposals)
    except UserError:
        raise
    except Exception as error:  # a network can raise anything
        raise UserError(f'the detector of {file} does not run, so its work cannot be counted '
                        f'({reason(error)})') from error


def _without_ghost_convs(cfg: Config) -> Config | None:
    """Return a copy of the config with Conv2d instead of GhostConv; None: it has no GhostConv."""
    plain = deepcopy(cfg)
    parts = list(_parts_with_ghost_convs(plain.model))
    for part in parts:
        part['conv_cfg'] = None
    return plain if parts else None


def _parts_with_ghost_convs(node: Any) -> Iterator[dict]:
    if isinstance(node, dict):
        kind = (node.get('conv_cfg') or {}).get('type')
        if kind is GhostConv or (isinstance(kind, str) and MODELS.get(kind) is GhostConv):
            yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _parts_with_ghost_convs(child)


def _build(file: str, cfg: Config) -> nn.Module:
    detector = _deployed(build_detector(cfg, file))
    if isinstance(detector, SingleStageDetector) or _is_faster_rcnn(detector):
        return detector
    raise UserError(f'the {type(detector).__name__} of {file} cannot be counted. Only one-stage detectors and Faster '
                    'R-CNN (one box head, no masks) can: leave this config out')


def _is_faster_rcnn(detector: nn.Module) -> bool:
    if not isinstance(detector, TwoStageDetector) or not detector.with_rpn:
        return False
    head = detector.roi_head
    return type(head) is StandardRoIHead and not head.with_mask and not head.with_shared_head
