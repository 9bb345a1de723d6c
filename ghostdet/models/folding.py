"""Fold a network for inference: branches into single convolutions, and batch norm into the convolution before it."""
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import pairwise

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ghostdet.errors import UserError
from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.blocks import GhostBottleneck, SameConv2d
from ghostdet.models.branches import Branched
from ghostdet.models.family import GhostFamily


def fold(model: nn.Module) -> nn.Module:
    """Return a copy of a backbone or detector with branches and norms folded into convolutions, for inference only.

    RepGhostNet and GhostNetV3 train with branches. Here one convolution computes what all branches of a sum compute,
    and it takes in the batch norm after it too. Outputs differ only by rounding: by less than 1e-4 of their maximum in
    float32, 1e-9 in float64. The copy has no gradients; `train()` raises a `UserError`. `ghostdet.deploy.optimize`
    folds, too.

    Raises:
        ValueError: branches cannot be folded, because a norm among them is no batch norm with statistics, or has hooks.

    Examples:
        >>> from ghostdet.models.backbones.repghostnet import RepGhostNet
        >>> count = lambda model: sum(isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) for module in model.modules())
        >>> count(RepGhostNet()), count(fold(RepGhostNet()))
        (204, 93)
    """
    model = deepcopy(model)
    model.eval()  # on a line of its own: eval() of mmdet's backbones returns None
    left = fold_in_place(model)
    if left:
        raise ValueError(f'{len(left)} sums of branches cannot be folded, such as {left[0]}: every norm there must be '
                         'a batch norm with running statistics and without hooks')
    model.requires_grad_(False)
    return model


def fold_in_place(model: nn.Module) -> list[str]:
    """Fold what can be folded in `model`, which must be in evaluation mode.

    Returns:
        The names of the sums of branches that stay as they are, because one of their norms cannot be folded.
    """
    _unshare(model)
    left = fold_branches(model)
    fold_batch_norm(model)
    return left


class InferenceOnly(nn.Module):
    """A module that makes every network that contains it refuse to be trained."""

    def train(self, mode: bool = True) -> 'Folded':
        """Switch to evaluation mode.

        Raises:
            UserError: `mode` is True.
        """
        if mode:
            raise UserError('this network is folded for inference and cannot be trained: its batch norms and branches '
                            'are gone. Train the network that it was made from')
        return super().train(mode)


class Folded(InferenceOnly, nn.Identity):
    """Stands where a norm was that was folded."""


# ------------------------------------------------------------------------------------------------------------- branches

def fold_branches(model: nn.Module) -> list[str]:
    """Replace each sum of branches by one convolution: the first step of `fold_in_place`, with the same result."""
    left = []
    for path, module in model.named_modules():
        for name in module.sums if isinstance(module, Branched) else ():
            branches = [_single(branch) for branch in module.branches(name)]
            if len(branches) < 2:  # folded before, or no such sum in this block
                continue
            if None in branches:
                left.append(f'{path}.{name}')
            else:
                module.put_one(name,
                               nn.Sequential(_sum([branch for branch in branches if branch is not None]), Folded()))
    return left


def _single(branch: nn.Module) -> nn.Conv2d | None:
    """Return one convolution equal to a branch: a convolution with its norm, or a norm alone; None if there is none."""
    layers = list(branch) if type(branch).forward is nn.Sequential.forward else [branch]
    norm = layers[-1]
    conv = layers[0] if len(layers) == 2 else _identity(norm)
    return fuse_conv_bn_eval(conv, norm) if conv is not None and _can_fold(conv, norm) else None


def _identity(norm: nn.Module) -> nn.Conv2d | None:
    """Return a depthwise 1x1 convolution that changes nothing, for the channels of a batch norm."""
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return None
    channels = norm.num_features
    conv = nn.Conv2d(channels, channels, 1, groups=channels, bias=False).to(norm.running_mean).eval()
    nn.init.ones_(conv.weight)
    return conv


def _sum(convolutions: Sequence[nn.Conv2d]) -> nn.Conv2d:
    """Return the sum of several convolutions, of one stride and odd kernels with "same" padding, as one."""
    largest = max(convolutions, key=lambda conv: conv.kernel_size)
    total = deepcopy(largest)
    with torch.no_grad():
        total.weight.copy_(sum(_padded(conv.weight.double(), largest) for conv in convolutions))
        total.bias.copy_(sum(conv.bias.double() for conv in convolutions))
    return total


def _padded(weight: Tensor, largest: nn.Conv2d) -> Tensor:
    """Return a kernel with zeros around it, as large as that of `largest`."""
    height, width = ((new - old) // 2 for new, old in zip(largest.kernel_size, weight.shape[-2:]))
    return nn.functional.pad(weight, [width, width, height, height])


def _unshare(model: nn.Module) -> None:
    """Copy a layer that several modules share, so that each module has its own. Changes `model`.

    RTMDet's levels share convolutions but not their norms, which could not be folded otherwise.
    """
    seen = set()
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            if id(child) in seen:
                setattr(module, name, deepcopy(child))
            elif child is not None:
                seen.add(id(child))


# ----------------------------------------------------------------------------------------------------------- batch norm

def fold_batch_norm(model: nn.Module) -> None:
    """Fold batch norm into the convolution before it, in our backbones, mmcv's ConvModules and `nn.Sequential`.

    Changes `model`. A convolution that several modules share stays as it is, and so does a layer with hooks or with
    a forward pass of its own. Code outside an `nn.Sequential` must not read what its convolutions give.
    """
    for module in model.modules():
        if isinstance(module, GhostNet):
            module.with_cp = False  # recomputing does not know of biases, and there is nothing to train
    uses = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    for block, conv_name, norm_name in list(_pairs(model)):
        conv, norm = getattr(block, conv_name), getattr(block, norm_name)
        if _can_fold(conv, norm) and uses[id(conv)] == uses[id(block)]:
            setattr(block, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(block, norm_name, Folded())
            if isinstance(block, ConvModule):
                block.with_norm = False


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Yield (block, name of a layer, name of the next layer) where nothing else reads the first layer's result."""
    for block in model.modules():
        if isinstance(block, GhostFamily):
            yield block, 'conv_stem', 'bn1'
        elif isinstance(block, GhostBottleneck) and hasattr(block, 'conv_dw'):
            yield block, 'conv_dw', 'bn_dw'
        elif isinstance(block, ConvModule):
            if block.order[:2] == ('conv', 'norm') and block.with_norm and not block.with_spectral_norm:
                yield block, 'conv', block.norm_name
        elif type(block).forward is nn.Sequential.forward:
            yield from ((block, *names) for names in pairwise(block._modules))


def _can_fold(conv: nn.Module, norm: nn.Module) -> bool:
    """Return whether these are an ordinary convolution and a batch norm with fixed statistics, with no hook on them."""
    usual = type(norm).forward in (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward)
    hooks = any(layer._forward_hooks or layer._forward_pre_hooks for layer in (conv, norm))
    fixed = isinstance(norm, _BatchNorm) and not norm.training and norm.running_mean is not None
    return type(conv) in (nn.Conv2d, SameConv2d) and usual and fixed and not hooks
