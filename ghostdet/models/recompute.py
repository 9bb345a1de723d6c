"""Train with less memory: recompute cheap results in the backward pass instead of keeping them.

Autograd keeps the input of nearly every layer. In a Ghost bottleneck, norms, activations, attention and concatenations
make most of these inputs, from the outputs of a few convolutions. Here the maps of a Ghost module stay in two parts, so
nothing is concatenated between layers. `keep` chooses which of the other results are kept.
"""
from collections.abc import Callable, Sequence
from functools import partial, reduce

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from ghostdet.models.blocks import GhostBottleneck, GhostModule, SameConv2d, SqueezeExcite, same_conv2d
from ghostdet.models.compiling import autocast_settings, is_compiling


def run_sparingly(block: GhostBottleneck, x: Tensor, keep: bool) -> Tensor:
    """Return `block(x)` but keep fewer tensors for the backward pass; gradients and norm statistics are the same.

    Args:
        keep: True keeps the outputs of all convolutions. It also keeps the norm and activation after the Ghost modules'
            1x1 convolutions and after the shortcut's depthwise convolution. False keeps only the outputs of 1x1
            convolutions.
    """
    if is_compiling():
        return block(x)  # the compiler chooses itself what to recompute
    parts = _ghost(block.ghost1, [Maps(x)], keep)
    if block.has_stride:
        parts = [_normed(block.bn_dw, _convolved(block.conv_dw, parts, keep))]
    if block.se is not None:
        parts = _attended(block.se, parts)
    parts = _ghost(block.ghost2, parts, keep)
    out = torch.cat([part.value for part in parts], dim=1)
    if not block.shortcut:
        return out.add_(x)
    depthwise, norm, pointwise, last_norm = block.shortcut
    maps = _normed(norm, _convolved(depthwise, [Maps(x)], keep), block.shortcut_relu, keep)
    return out.add_(_normed(last_norm, _convolved(pointwise, [maps])).value)


class Again:
    """Recompute a dropped tensor, once per backward pass, for all its users."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        self.users = 0
        self._make, self._asked = make, 0
        self._made: Tensor | None = None

    def __call__(self) -> Tensor:
        """Return the tensor; drop it when the last user has it."""
        tensor = self._make() if self._made is None else self._made
        self._asked = (self._asked + 1) % self.users
        self._made = tensor if self._asked else None
        return tensor


class Maps:
    """Feature maps. Autograd keeps them, unless `make` can recompute them. `make` must not hold a reference to them."""

    def __init__(self, value: Tensor, make: Callable[[], Tensor] | None = None) -> None:
        self.value, self._again = value, None if make is None else Again(make)

    def into(self, layer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `layer` applied to the maps."""
        again = self._again
        if again is None:
            return layer(self.value)
        pointer, shape = self.value.data_ptr(), self.value.shape  # not the maps: the graph keeps its hooks

        def pack(tensor: Tensor) -> Tensor | Again:
            if tensor.data_ptr() != pointer or tensor.shape != shape:
                return tensor
            again.users += 1
            return again
        with saved_tensors_hooks(pack, lambda kept: kept() if isinstance(kept, Again) else kept):
            return layer(self.value)

    def source(self) -> Callable[[], Tensor]:
        """Return a function that gives the maps, detached, in the backward pass, to recompute results from them."""
        if self._again is None:
            kept = self.value.detach()
            return lambda: kept
        self._again.users += 1
        return self._again


# -------------------------------------------------------------------------------------------------- layers on such maps

def _ghost(module: GhostModule, parts: Sequence[Maps], keep: bool) -> list[Maps]:
    """Apply a Ghost module; return the primary and the cheap maps as two parts."""
    conv, norm, *relu = module.primary_conv
    primary = _normed(norm, _convolved(conv, parts), bool(relu), keep)
    if module.cheap_operation is None:
        return [primary]
    conv, norm, *relu = module.cheap_operation
    wanted = module.out_channels - primary.value.shape[1]
    return [primary, _normed(norm, _convolved(conv, [primary], keep), bool(relu), wanted=wanted)]


def _convolved(conv: nn.Conv2d, parts: Sequence[Maps], keep: bool = True) -> Maps:
    """Apply a convolution to maps in parts; the convolution has one group or is depthwise."""
    starts = [sum(part.value.shape[1] for part in parts[:index]) for index in range(len(parts))]
    layers = [partial(_convolved_part, conv, start) for start in starts]

    def together(pieces: list[Tensor]) -> Tensor:
        return reduce(Tensor.add_, pieces) if conv.groups == 1 or len(pieces) == 1 else torch.cat(pieces, dim=1)
    value = together([part.into(layer) for part, layer in zip(parts, layers)])
    if keep:
        return Maps(value)
    sources = [part.source() for part in parts]
    return Maps(value, _later(lambda: together([layer(source()) for source, layer in zip(sources, layers)]), value))


def _convolved_part(conv: nn.Conv2d, start: int, part: Tensor) -> Tensor:
    """Apply `conv` to one part only; `start` is the index of its first channel in the whole."""
    if part.shape[1] == conv.in_channels:
        return conv(part)
    span = slice(start, start + part.shape[1])
    weight, groups = (conv.weight[:, span], 1) if conv.groups == 1 else (conv.weight[span], part.shape[1])
    if isinstance(conv, SameConv2d):
        return same_conv2d(part, weight, None, conv.stride, groups)
    return functional.conv2d(part, weight, None, conv.stride, conv.padding, groups=groups)


def _normed(norm: nn.Module, maps: Maps, relu: bool = False, keep: bool = False, wanted: int | None = None) -> Maps:
    """Apply `norm`, take the first `wanted` channels, and apply ReLU if `relu`."""
    def finished(normed: Tensor) -> Tensor:
        return normed if wanted is None or wanted == normed.shape[1] else normed[:, :wanted].contiguous()
    normed = maps.into(norm)
    if keep:
        return Maps(normed.relu_() if relu else normed)
    again, source = _norm_again(norm, normed), maps.source()

    def make() -> Tensor:
        made = finished(again(source()))
        return made.relu_() if relu else made
    light = Maps(finished(normed), _later(make, normed))
    if relu:
        light.into(Tensor.relu_)
    return light


def _attended(attention: SqueezeExcite, parts: Sequence[Maps]) -> list[Maps]:
    pooled = torch.cat([part.value.mean((2, 3), keepdim=True) for part in parts], dim=1)  # (N, C, 1, 1)
    gates = attention.gate(pooled).split([part.value.shape[1] for part in parts], dim=1)
    return [_times(part, gate) for part, gate in zip(parts, gates)]


def _times(maps: Maps, gate: Tensor) -> Maps:
    value, source, kept = maps.into(lambda value: value * gate), maps.source(), gate.detach()
    return Maps(value, lambda: source() * kept)


# ------------------------------------------------------------------------------------------------ in the backward pass

def _later(make: Callable[[], Tensor], value: Tensor) -> Callable[[], Tensor]:
    """Wrap `make` for the backward pass: no gradients, and the autocast settings of the forward pass."""
    kind = value.device.type
    autocast = autocast_settings(kind)

    def called() -> Tensor:
        with torch.no_grad(), torch.autocast(kind, **autocast):
            return make()
    return called


def _norm_again(norm: nn.Module, normed: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that computes `normed` again; a batch norm does not count the batch twice."""
    if isinstance(norm, _NormBase) and not isinstance(norm, _BatchNorm) and norm.training:  # an instance norm
        return partial(_with_fixed_statistics, norm)
    if not isinstance(norm, _BatchNorm):
        return norm
    if not norm.training and norm.running_mean is not None:  # its mode may differ in the backward pass
        return lambda maps: functional.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias,
                                                  eps=norm.eps)
    mean, inverse_std = (getattr(normed.grad_fn, f'_saved_result{index}', None) for index in (1, 2))
    if mean is None or inverse_std is None:  # not torch's own batch norm: recompute the statistics
        return partial(_with_fixed_statistics, norm)
    # The graph already holds the batch's statistics.
    return lambda maps: functional.batch_norm(maps, mean, inverse_std ** -2 - norm.eps, norm.weight, norm.bias,
                                              eps=norm.eps)


def _with_fixed_statistics(norm: _NormBase, maps: Tensor) -> Tensor:
    own = norm.momentum, norm.num_batches_tracked
    norm.momentum = 0.0
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        return norm(maps)
    finally:
        norm.momentum, norm.num_batches_tracked = own
