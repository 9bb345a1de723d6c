"""Complexity of the detectors in config files."""
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, mobilenet_v3_large

from ghostdet.analysis.complexity import Count, DetectorComplexity, ImageNetCount, count, count_parts
from ghostdet.engine.console import read_config
from ghostdet.engine.weights import drop_weights
from ghostdet.errors import UserError, reason
from ghostdet.models.ghost_conv import GhostConv
from ghostdet.models.ghostnet import GhostNet

HIDDEN, CLASSES = 1280, 1000  # of GhostNet's classifier
WIDTH_ARGUMENTS = ('width', 'rounding', 'ratio', 'dw_size')  # of a GhostNet: those that change what it costs


def measure(file: str, shape: Sequence[int] = (800, 1333)) -> DetectorComplexity:
    """Count the detector of a config on one image of `shape`, height and width in pixels, padded as its config says.

    Nothing is computed and no weights are read: all tensors are on the meta device.

    Raises:
        UserError: the shape is not positive; the config is missing or wrong; its detector cannot be counted.
    """
    return measure_config(read_config(file, {}), file, shape)


def measure_config(cfg: Config, file: str, shape: Sequence[int] = (800, 1333)) -> DetectorComplexity:
    """The same of a config that has been read from `file`; its initial weights are dropped.

    Raises:
        UserError: as `measure`.
    """
    height, width = shape
    if min(shape) < 1:
        raise UserError(f'--shape {height} {width}: height and width have to be at least 1 pixel')
    detector = _build(file, cfg)
    divisor = cfg.model.get('data_preprocessor', {}).get('pad_size_divisor', 1)
    padded = (-(-height // divisor) * divisor, -(-width // divisor) * divisor)
    proposals = cfg.model.test_cfg.rpn.max_per_img if isinstance(detector, TwoStageDetector) else None
    image = torch.empty(1, 3, *padded, device='meta')
    parts = _counted(file, detector, image, proposals)
    plain_cfg, plain = _without_ghost_convs(cfg), None
    if plain_cfg is not None:
        plain = sum(_counted(file, _build(file, plain_cfg), image, proposals).values(), Count(0, 0))
    return DetectorComplexity(Path(file).stem, parts, (height, width), padded, divisor, proposals, imagenet(cfg.model.backbone),
                              plain)


def imagenet(backbone: dict) -> ImageNetCount:
    """The classifier on ImageNet, at 224x224, whose network the `backbone` of a config is."""
    image = torch.empty(1, 3, 224, 224, device='meta')
    kind = str(backbone['type']).rsplit('.')[-1].removeprefix('Truncated')
    if kind == 'MobileNetV2':
        return ImageNetCount(classifier=count(mobilenet_v2(width_mult=backbone.get('widen_factor', 1.0)).to('meta'), image))
    if kind == 'MobileNetV3' and backbone.get('arch', 'large') == 'large':
        return ImageNetCount(classifier=count(mobilenet_v3_large().to('meta'), image))
    if kind != 'GhostNet':
        return ImageNetCount()
    arguments = {name: backbone[name] for name in WIDTH_ARGUMENTS if name in backbone}
    to_last = GhostNet(**arguments, out_indices=(4,)).to('meta')
    classifier = nn.Sequential(nn.Conv2d(to_last.arch.last, HIDDEN, 1), nn.Flatten(), nn.Linear(HIDDEN, CLASSES)).to('meta')
    last = count(to_last, image)
    whole: Count = last + count(classifier, torch.empty(1, to_last.arch.last, 1, 1, device='meta'))
    return ImageNetCount(count(GhostNet(**arguments, out_indices=(3,)).to('meta'), image).macs, last.macs, whole)


def _counted(file: str, detector: nn.Module, image: Tensor, proposals: int | None) -> dict[str, Count]:
    try:
        return count_parts(detector.to('meta'), image, proposals)
    except UserError:
        raise
    except Exception as error:  # a network fails in its own ways
        raise UserError(f'the detector of {file} does not run, so its work cannot be counted ({reason(error)})') from error


def _without_ghost_convs(cfg: Config) -> Config | None:
    """The config with plain convolutions; None where it has no others."""
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
    drop_weights(cfg)
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    try:
        detector = MODELS.build(cfg.model)
    except Exception as error:  # constructors fail in their own ways
        raise UserError(f'the model of {file} cannot be built ({reason(error)}): mend the config') from error
    if isinstance(detector, SingleStageDetector) or _is_faster_rcnn(detector):
        return detector
    raise UserError(f'the {type(detector).__name__} of {file} cannot be counted, only detectors of one stage, and of two like '
                    'Faster R-CNN, with one box head and no masks: leave this config out')


def _is_faster_rcnn(detector: nn.Module) -> bool:
    if not isinstance(detector, TwoStageDetector) or not detector.with_rpn:
        return False
    head = detector.roi_head
    return type(head) is StandardRoIHead and not head.with_mask and not head.with_shared_head
