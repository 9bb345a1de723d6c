"""Make a network faster for inference in PyTorch."""
from copy import deepcopy

import torch
from mmcv.ops import RoIAlign, RoIPool
from torch import Tensor, nn

from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.fast_ghostnet import FastGhostNet, can_be_fast
from ghostdet.models.folding import fold_in_place


def optimize(model: nn.Module, compile: bool = False) -> nn.Module:
    """Return a faster copy of a backbone or detector, for inference only.

    It folds branches and batch norm into the convolutions (`ghostdet.models.folding`), stores tensors channels-last,
    and keeps a GhostNet's large feature maps in parts (`ghostdet.models.fast_ghostnet`). The copy has no gradients and
    no training mode. Its outputs differ only by rounding: by less than 1e-4 of their maximum in float32, 1e-9 in
    float64.

    Args:
        compile: use torch.compile. It compiles at the first call with each new input shape. On a CPU it needs g++.

    Examples:
        >>> import torch
        >>> [tuple(feature.shape) for feature in optimize(GhostNet(width=1.1))(torch.rand(1, 3, 64, 96))]
        [(1, 28, 16, 24), (1, 44, 8, 12), (1, 124, 4, 6), (1, 176, 2, 3)]
    """
    model = deepcopy(model)
    model.eval()  # on a line of its own: eval() of mmdet's backbones returns None
    fold_in_place(model)
    model = _with_fast_parts(model)
    model.requires_grad_(False)
    model.to(memory_format=torch.channels_last)
    _put_channels_first_for_rois(model)
    if compile:
        for part in _compilable(model):
            part.compile(options=dict(freezing=True))
    return model


def _with_fast_parts(model: nn.Module) -> nn.Module:
    """Replace every GhostNet in `model`, or `model` itself, by a FastGhostNet where possible."""
    if isinstance(model, GhostNet):
        return FastGhostNet(model) if can_be_fast(model) else model
    for name, child in model.named_children():
        setattr(model, name, _with_fast_parts(child))
    return model


def _put_channels_first_for_rois(model: nn.Module) -> None:
    """Give mmcv's RoI layers channels-first features: they misread other memory layouts (mmcv issue 2203)."""
    for layer in model.modules():
        if isinstance(layer, (RoIAlign, RoIPool)):
            layer.register_forward_pre_hook(_channels_first)


def _channels_first(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    features, *others = inputs
    return features.contiguous(), *others


def _compilable(model: nn.Module) -> list[nn.Module]:
    """Return the parts of a detector that map tensors to tensors; for any other model, the whole model."""
    parts = [getattr(model, name, None) for name in ('backbone', 'neck', 'bbox_head', 'rpn_head')]
    return [part for part in parts if part is not None] or [model]
