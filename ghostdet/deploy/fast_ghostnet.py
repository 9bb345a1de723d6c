"""GhostNet as it computes fastest in PyTorch: batch norm folded, and no large feature map written twice.

Half of a Ghost module's maps are made from the other half, and putting the two beside each other costs a pass over memory. Where
that is much, they stay two tensors, and what reads them reads both: a depthwise convolution works on each alone, a 1x1
convolution is the sum of two. Maps that fit into a cache are put together, since two small convolutions cost more than one.
"""
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ghostdet.models.blocks import GhostBottleneck, GhostModule, SqueezeExcite
from ghostdet.models.ghost_conv import GhostConv
from ghostdet.models.ghostnet import GhostNet, LastConv

FUSED: set[torch.dtype] = set()  # types for which oneDNN has fused convolutions on this processor
if torch.backends.mkldnn.is_available():
    FUSED = {torch.float32, torch.bfloat16} if torch.ops.mkldnn._is_mkldnn_bf16_supported() else {torch.float32}
LARGE = 2 ** 21  # bytes of a feature map from which on it is left in parts
Parts = tuple[Tensor, ...]  # one feature map, split over its channels, or whole


class Conv(nn.Module):
    """A convolution, the addition of a tensor, and ReLU: one pass over memory where oneDNN is in use, else one by one."""

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        self.weight, self.bias, self.relu = conv.weight, conv.bias, relu
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W'). `added`, of the shape of the result, is overwritten."""
        # torch.compile fuses the three itself.
        if torch.compiler.is_compiling() or x.device.type != 'cpu' or x.dtype not in FUSED:
            out = nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
            out = out if added is None else added.add_(out)
            return out.relu_() if self.relu else out
        place = self.weight, self.bias, self.padding, self.stride, (1, 1), self.groups
        fused = torch.ops.mkldnn
        if added is None:
            return fused._convolution_pointwise(x, *place, 'relu' if self.relu else 'none', [], '')
        return fused._convolution_pointwise_.binary(added, x, *place, 'add', 1.0, 'relu' if self.relu else None, [], '')


class Pointwise(nn.Module):
    """A 1x1 convolution of a feature map, which may be in parts: one convolution for each, added up."""

    def __init__(self, conv: nn.Conv2d, sizes: Sequence[int], relu: bool = False) -> None:
        super().__init__()
        last = len(sizes) - 1
        self.whole = Conv(conv, relu)
        self.cut = nn.ModuleList(Conv(_cut(conv, inputs=span, bias=not index), relu and index == last)
                                 for index, span in enumerate(_spans(sizes)))

    def forward(self, parts: Parts, added: Tensor | None = None) -> Tensor:
        """Parts of (N, C_in, H, W) -> (N, C_out, H, W); `added` is overwritten."""
        for conv, part in zip(self.cut if len(parts) > 1 else [self.whole], parts):
            added = conv(part, added)
        assert added is not None
        return added


class Depthwise(nn.Module):
    """A depthwise convolution of a feature map, which may be in parts."""

    def __init__(self, conv: nn.Conv2d, sizes: Sequence[int], relu: bool = False) -> None:
        super().__init__()
        self.whole = Conv(conv, relu)
        self.cut = nn.ModuleList(Conv(_cut(conv, outputs=span), relu) for span in _spans(sizes))

    def forward(self, parts: Parts) -> Parts:
        """Parts of (N, C, H, W) -> parts of (N, C, ceil(H/s), ceil(W/s))."""
        return tuple(conv(part) for conv, part in zip(self.cut if len(parts) > 1 else [self.whole], parts))


class FastGhostModule(nn.Module):
    """A Ghost module's two steps: parts of (N, C_in, H, W) -> the primary maps -> parts of (N, C_out, H, W)."""

    def __init__(self, module: GhostModule, sizes: Sequence[int], relu: bool) -> None:
        super().__init__()
        self.primary = Pointwise(folded(*module.primary_conv[:2]), sizes, relu)
        self.cheap = None if module.cheap_operation is None else Conv(folded(*module.cheap_operation[:2]), relu)

    def spread(self, primary: Tensor) -> Parts:
        """The primary maps -> all maps, together unless they are large."""
        if self.cheap is None:
            return (primary,)
        parts = primary, self.cheap(primary)
        return parts if _is_large(*parts) else (torch.cat(parts, dim=1),)


class FastSqueezeExcite(nn.Module):
    """Channel attention on a feature map in parts, which are overwritten; its two convolutions are matrix products."""

    def __init__(self, module: SqueezeExcite) -> None:
        super().__init__()
        self.reduce, self.expand = _linear(module.conv_reduce), _linear(module.conv_expand)

    def forward(self, parts: Parts) -> Parts:
        """Parts of (N, C, H, W) -> the same."""
        pooled = torch.cat([part.mean((2, 3)) for part in parts], dim=1)  # (N, C)
        gate = nn.functional.hardsigmoid(self.expand(self.reduce(pooled).relu_()))
        shares = gate.split([part.shape[1] for part in parts], dim=1)
        return tuple(part.mul_(share[:, :, None, None]) for part, share in zip(parts, shares))


class FastBottleneck(nn.Module):
    """A Ghost bottleneck between feature maps in parts."""

    def __init__(self, block: GhostBottleneck, sizes: Sequence[int]) -> None:
        super().__init__()
        self.ghost1 = FastGhostModule(block.ghost1, sizes, relu=True)
        middle = _sizes(block.ghost1)
        self.depthwise = Depthwise(folded(block.conv_dw, block.bn_dw), middle) if block.has_stride else None
        self.se = None if block.se is None else FastSqueezeExcite(block.se)
        self.ghost2 = FastGhostModule(block.ghost2, middle, relu=False)
        self.shortcut_depthwise: Depthwise | None = None
        if len(block.shortcut):
            self.shortcut_depthwise = Depthwise(folded(*block.shortcut[:2]), sizes, block.shortcut_relu)
            pointwise, spans = folded(*block.shortcut[2:]), _spans(_sizes(block.ghost2))
            self.shortcut = Pointwise(pointwise, sizes)
            self.shortcut_cut = nn.ModuleList(Pointwise(_cut(pointwise, outputs=span), sizes) for span in spans)

    def forward(self, x: Parts) -> Parts:
        """Parts of (N, C_in, H, W), which are overwritten -> parts of (N, C_out, ceil(H/s), ceil(W/s))."""
        maps = self.ghost1.spread(self.ghost1.primary(x))
        maps = maps if self.depthwise is None else self.depthwise(maps)
        maps = maps if self.se is None else self.se(maps)
        primary = self.ghost2.primary(maps)
        if self.shortcut_depthwise is not None:
            x, out = self.shortcut_depthwise(x), self.ghost2.spread(primary)
            return tuple(layer(x, part) for layer, part in zip(self.shortcut_cut if len(out) > 1 else [self.shortcut], out))
        if self.ghost2.cheap is None:
            return (primary.add_(x[0]),)
        if len(x) > 1:
            cheap = self.ghost2.cheap(primary, x[1])  # made before anything is added to the primary maps
            return primary.add_(x[0]), cheap
        return (torch.cat((primary, self.ghost2.cheap(primary)), dim=1).add_(x[0]),)


class FastGhostNet(nn.Module):
    """What a GhostNet computes in evaluation mode, without gradients.

    (N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i].

    Raises:
        ValueError: `can_be_fast` is not true of the network.
    """

    def __init__(self, net: GhostNet) -> None:
        super().__init__()
        if not can_be_fast(net):
            raise ValueError('only a GhostNet with batch norm, whose ratio divides all channel counts, can be split into parts')
        self.taps, self.out_channels, self.out_strides = net.taps, net.out_channels, net.out_strides
        stem = folded(net.conv_stem, net.bn1)
        sizes = _sizes(net.blocks[0][0].ghost2)  # the first block adds its input to its output: both are split alike
        self.stem = Conv(stem, relu=True)
        self.stem_cut = nn.ModuleList(Conv(_cut(stem, outputs=span), relu=True) for span in _spans(sizes))
        self.blocks = nn.ModuleList()
        for group in net.blocks:
            self.blocks.append(nn.ModuleList())
            for block in group:
                if isinstance(block, LastConv):
                    self.blocks[-1].append(Pointwise(folded(block.conv, block.bn1), sizes, relu=True))
                else:
                    self.blocks[-1].append(FastBottleneck(block, sizes))
                    sizes = _sizes(block.ghost2)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i]."""
        x = x.contiguous(memory_format=torch.channels_last)
        pixels = x.shape[0] * x.shape[2] * x.shape[3] // 4  # of the stem's output
        large = pixels * len(self.stem.weight) * x.element_size() > LARGE and x.device.type == 'cpu'
        parts: Parts = tuple(conv(x) for conv in (self.stem_cut if large else [self.stem]))
        features = []
        for index, group in enumerate(self.blocks):
            for block in group:
                found = block(parts)
                parts = (found,) if isinstance(found, Tensor) else found
            if index in self.taps:
                features.append(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
        return tuple(features)


def can_be_fast(net: GhostNet) -> bool:
    """Whether there is a form in parts: batch norm everywhere, and no Ghost module that makes more maps than it gives out.

    One that `ghostify` has changed has none.
    """
    modules = list(net.modules())
    convolutions = sum(isinstance(module, nn.Conv2d) and module.bias is None for module in modules)
    return (sum(isinstance(module, _BatchNorm) for module in modules) == convolutions
            and not any(isinstance(module, GhostModule) and module.surplus for module in modules)
            and not any(isinstance(module, GhostConv) for module in modules))


def _is_large(*parts: Tensor) -> bool:
    """Whether putting the parts together would be a pass over memory, and not only over a cache."""
    return sum(part.numel() * part.element_size() for part in parts) > LARGE and parts[0].device.type == 'cpu'


def folded(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """A convolution that does what `conv` and the batch norm after it do in evaluation mode."""
    return fuse_conv_bn_eval(conv.eval(), norm.eval())


def _sizes(module: GhostModule) -> list[int]:
    primary = module.primary_conv[0].out_channels
    return [primary] if module.cheap_operation is None else [primary, module.out_channels - primary]


def _spans(sizes: Sequence[int]) -> Iterator[slice]:
    return (slice(*ends) for ends in pairwise(accumulate(sizes, initial=0)))


def _cut(conv: nn.Conv2d, inputs: slice = slice(None), outputs: slice = slice(None), bias: bool = True) -> nn.Conv2d:
    """A part of a convolution, which is depthwise or has one group: what `inputs` give to `outputs`."""
    weight = conv.weight.detach()[outputs, inputs].clone()
    channels, groups = (len(weight), len(weight)) if conv.groups > 1 else (weight.shape[1], 1)
    part = nn.Conv2d(channels, len(weight), conv.kernel_size, conv.stride, conv.padding, groups=groups, bias=bias)
    part.weight = nn.Parameter(weight)
    if bias and conv.bias is not None:
        part.bias = nn.Parameter(conv.bias.detach()[outputs].clone())
    return part


def _linear(conv: nn.Conv2d) -> nn.Linear:
    """A 1x1 convolution as a matrix product, for one pixel."""
    linear = nn.Linear(conv.in_channels, conv.out_channels)
    linear.weight, linear.bias = nn.Parameter(conv.weight.detach().flatten(1)), nn.Parameter(conv.bias.detach())
    return linear
