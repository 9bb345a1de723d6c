"""A network as it computes fastest in PyTorch, for inference."""
from collections import Counter
from copy import deepcopy

import torch
from mmcv.cnn import ConvModule
from mmcv.ops import RoIAlign, RoIPool
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ghostdet.deploy.fast_ghostnet import FastGhostNet, can_be_fast
from ghostdet.models.ghostnet import GhostNet


def optimize(model: nn.Module, compile: bool = False) -> nn.Module:
    """A copy of a backbone or a whole detector for inference: the same outputs in less time.

    Batch norm is folded into the convolutions before it, tensors lie in memory with channels last, and a GhostNet's large
    feature maps stay in parts (`ghostdet.deploy.fast_ghostnet`). No gradients, no training mode. Outputs differ by rounding
    alone: by less than 1e-4 of their maximum in float32, 1e-9 in float64.

    Args:
        compile: let torch.compile make code of it, when it is first called with an input of a new shape. On a CPU it needs g++.

    Example:
        >>> import torch
        >>> [tuple(feature.shape) for feature in optimize(GhostNet(width=1.1))(torch.rand(1, 3, 64, 96))]
        [(1, 28, 16, 24), (1, 44, 8, 12), (1, 124, 4, 6), (1, 176, 2, 3)]
    """
    model = deepcopy(model)
    model.eval()  # on a line of its own: eval() of mmdet's backbones returns None
    model = _with_fast_parts(model)
    _fold_conv_modules(model)
    model.requires_grad_(False)
    model.to(memory_format=torch.channels_last)
    _put_channels_first_for_rois(model)
    if compile:
        for part in _compilable(model):
            part.compile(options=dict(freezing=True))
    return model


def _with_fast_parts(model: nn.Module) -> nn.Module:
    """`model`, every GhostNet in it replaced; it may be one itself."""
    if isinstance(model, GhostNet):
        return FastGhostNet(model) if can_be_fast(model) else model
    for name, child in model.named_children():
        setattr(model, name, _with_fast_parts(child))
    return model


def _fold_conv_modules(model: nn.Module) -> None:
    """Fold batch norm in mmcv's blocks of convolution, norm and activation, but where blocks share a convolution."""
    uses = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    for block in [module for module in model.modules() if isinstance(module, ConvModule)]:
        usual = block.order[:2] == ('conv', 'norm') and type(block.conv) is nn.Conv2d and not block.with_spectral_norm
        if usual and block.with_norm and isinstance(block.norm, _BatchNorm) and uses[id(block.conv)] == uses[id(block)]:
            block.conv = fuse_conv_bn_eval(block.conv, block.norm)
            delattr(block, block.norm_name)
            block.with_norm, block.norm_name = False, None


def _put_channels_first_for_rois(model: nn.Module) -> None:
    """RoI layers of mmcv read other values where features do not lie in memory with channels first (its issue 2203)."""
    for layer in model.modules():
        if isinstance(layer, (RoIAlign, RoIPool)):
            layer.register_forward_pre_hook(_channels_first)


def _channels_first(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    features, *others = inputs
    return features.contiguous(), *others


def _compilable(model: nn.Module) -> list[nn.Module]:
    """The parts of a detector that are tensors in, tensors out; of anything else, all of it."""
    parts = [getattr(model, name, None) for name in ('backbone', 'neck', 'bbox_head', 'rpn_head')]
    return [part for part in parts if part is not None] or [model]
