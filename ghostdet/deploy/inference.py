"""Make a network faster for inference in PyTorch."""
from collections import Counter
from copy import deepcopy
from itertools import pairwise

import torch
from mmcv.cnn import ConvModule
from mmcv.ops import RoIAlign, RoIPool
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ghostdet.deploy.fast_ghostnet import FastGhostNet, can_be_fast
from ghostdet.models.blocks import SameConv2d
from ghostdet.models.ghostnet import GhostNet


def optimize(model: nn.Module, compile: bool = False) -> nn.Module:
    """Return a faster copy of a backbone or detector, for inference only.

    It folds batch norm into the convolutions, stores tensors channels-last, and keeps a GhostNet's large feature maps in parts
    (`ghostdet.deploy.fast_ghostnet`). The copy has no gradients and no training mode. Its outputs differ only by rounding: by
    less than 1e-4 of their maximum in float32, 1e-9 in float64.

    Args:
        compile: use torch.compile. It compiles at the first call with each new input shape. On a CPU it needs g++.

    Example:
        >>> import torch
        >>> [tuple(feature.shape) for feature in optimize(GhostNet(width=1.1))(torch.rand(1, 3, 64, 96))]
        [(1, 28, 16, 24), (1, 44, 8, 12), (1, 124, 4, 6), (1, 176, 2, 3)]
    """
    model = deepcopy(model)
    model.eval()  # on a line of its own: eval() of mmdet's backbones returns None
    model = _with_fast_parts(model)
    fold_batch_norm(model)
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


def fold_batch_norm(model: nn.Module) -> None:
    """Fold batch norm into the convolution before it, within mmcv's ConvModules and within `nn.Sequential`.

    Changes `model`. A convolution that is used in several places stays as it is, and so does a layer with hooks or with a forward
    pass of its own. Code outside an `nn.Sequential` must not read what its convolutions give.
    """
    uses = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    for block in [module for module in model.modules() if isinstance(module, ConvModule)]:
        usual = block.order[:2] == ('conv', 'norm') and type(block.conv) is nn.Conv2d and not block.with_spectral_norm
        if usual and block.with_norm and _can_fold(block.conv, block.norm) and uses[id(block.conv)] == uses[id(block)]:
            block.conv = fuse_conv_bn_eval(block.conv, block.norm)
            delattr(block, block.norm_name)
            block.with_norm, block.norm_name = False, None
    for block in [module for module in model.modules() if type(module).forward is nn.Sequential.forward]:
        for place, (conv, norm) in enumerate(pairwise(block)):
            if type(conv) in (nn.Conv2d, SameConv2d) and _can_fold(conv, norm) and uses[id(conv)] == uses[id(block)]:
                block[place], block[place + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def _can_fold(conv: nn.Module, norm: nn.Module) -> bool:
    """Return whether `norm` is an ordinary batch norm with fixed statistics, and nobody looks in between."""
    usual = type(norm).forward in (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward)
    hooks = any(layer._forward_hooks or layer._forward_pre_hooks for layer in (conv, norm))
    return usual and isinstance(norm, _BatchNorm) and not norm.training and norm.running_mean is not None and not hooks


def _put_channels_first_for_rois(model: nn.Module) -> None:
    """Give mmcv's RoI layers channels-first features: they read wrong values from other memory layouts (mmcv issue 2203)."""
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
