"""Untrained detectors that find much: for benchmarks and tests of what comes after the network."""
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import DetDataSample
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ghostdet.training.build import Trained, build_detector, seeded
from ghostdet.training.datasets import classes_of

# Standard deviations of what the last layers of the heads give, on a random image.
STDS = dict(retina_cls=1, retina_reg=0.3, rpn_cls=1, rpn_reg=0.3, gfl_cls=1, rtm_cls=1, rtm_reg=1,
              multi_level_conv_cls=1, multi_level_conv_reg=0.3, multi_level_conv_obj=1, convs_pred=1)
WEIGHTS = dict(fc_cls=0.1, fc_reg=0.02)  # standard deviations of the weights of layers that see boxes only
RARE = ('retina_cls', 'gfl_cls', 'rtm_cls')  # give a score for each class, most of which are low


def scaled_detector(cfg: Config, name: str, seed: int = 0) -> Trained:
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
    """Scale batch norms and the heads' last layers, so that signals keep their size through the layers.

    They are scaled for a random image with details of all sizes, like a photograph.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the statistics become those of the image
        norm.train()
    handles = [layer.register_forward_hook(partial(_scale, STDS[name], -2. if name in RARE else 0.))
               for name, layer in _last_layers(model) if name in STDS]
    image = sum(nn.functional.interpolate(torch.randn(1, 3, side, side), 512) for side in (4, 16, 64, 512))
    data = model.data_preprocessor(dict(inputs=[(128 + 30 * image[0]).clamp(0, 255).byte()],
                                        data_samples=[DetDataSample()]))
    (model.rpn_head if isinstance(model, TwoStageDetector) else model.bbox_head)(model.extract_feat(data['inputs']))
    for handle in handles:
        handle.remove()
    for norm in norms:
        norm.running_var.clamp_(min=norm.running_var.mean())  # what is still in this image is not still in others
    model.eval()


def _last_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            yield name.rstrip('.0123456789').split('.')[-1], layer  # layers of several levels have numbers


def _scale(std: float, bias: float, layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    """Scale a layer so that its output has the given standard deviation and bias; return that output."""
    factor = std / output.std().clamp(min=1e-9)
    output = (output - layer.bias[:, None, None]) * factor + bias
    layer.weight.mul_(factor)
    layer.bias.fill_(bias)
    return output
