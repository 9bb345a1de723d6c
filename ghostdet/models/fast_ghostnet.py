"""A faster form of a folded GhostNet for inference in PyTorch: no large feature map is written twice.

A Ghost module makes some of its maps from the others. To concatenate the two parts costs a pass over memory. Large maps
therefore stay in two tensors, and the next layer reads both: a depthwise convolution works on each part, a 1x1
convolution sums over the two parts. Maps that fit into a cache are concatenated, because two small convolutions cost
more than one.
"""
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.blocks import GhostBottleneck, GhostModule, LastConv, SqueezeExcite
from ghostdet.models.compiling import is_compiling
from ghostdet.models.folding import InferenceOnly
from ghostdet.models.ghost_conv import GhostConv

FUSED: set[torch.dtype] = set()  # dtypes for which oneDNN has fused convolutions on this processor
if torch.backends.mkldnn.is_available():
    FUSED = {torch.float32, torch.bfloat16} if torch.ops.mkldnn._is_mkldnn_bf16_supported() else {torch.float32}
LARGE = 2 ** 21  # bytes; a larger feature map stays in parts
Parts = tuple[Tensor, ...]  # one feature map, split over its channels, or whole


class Conv(nn.Module):
    """A convolution, the addition of a tensor, and ReLU: one pass over memory with oneDNN, else separate steps."""

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        self.weight, self.bias, self.relu = conv.weight, conv.bias, relu
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W'). `added` has the shape of the result and is overwritten."""
        # torch.compile fuses the three steps itself.
        if is_compiling() or x.device.type != 'cpu' or x.dtype not in FUSED:
            out = nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
            out = out if added is None else added.add_(out)
            return out.relu_() if self.relu else out
        fused = torch.ops.mkldnn
        conv = self.weight, self.bias, self.padding, self.stride, (1, 1), self.groups
        if added is None:
            return fused._convolution_pointwise(x, *conv, 'relu' if self.relu else 'none', [], '')
        return fused._convolution_pointwise_.binary(added, x, *conv, 'add', 1.0, 'relu' if self.relu else None, [], '')


class Pointwise(nn.Module):
    """A 1x1 convolution of a feature map that may be in parts: the sum of one convolution per part."""

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
    """A depthwise convolution of a feature map that may be in parts."""

    def __init__(self, conv: nn.Conv2d, sizes: Sequence[int], relu: bool = False) -> None:
        super().__init__()
        self.whole = Conv(conv, relu)
        self.cut = nn.ModuleList(Conv(_cut(conv, outputs=span), relu) for span in _spans(sizes))

    def forward(self, parts: Parts) -> Parts:
        """Parts of (N, C, H, W) -> parts of (N, C, ceil(H/s), ceil(W/s))."""
        return tuple(conv(part) for conv, part in zip(self.cut if len(parts) > 1 else [self.whole], parts))


class FastGhostModule(nn.Module):
    """A Ghost module in two steps: parts of (N, C_in, H, W) -> the primary maps -> parts of (N, C_out, H, W)."""

    def __init__(self, module: GhostModule, sizes: Sequence[int], relu: bool) -> None:
        super().__init__()
        self.primary = Pointwise(module.primary_conv[0], sizes, relu)
        self.cheap = None if module.cheap_operation is None else Conv(module.cheap_operation[0], relu)

    def spread(self, primary: Tensor) -> Parts:
        """The primary maps -> all maps; concatenated unless they are large."""
        if self.cheap is None:
            return (primary,)
        parts = primary, self.cheap(primary)
        return parts if _is_large(*parts) else (torch.cat(parts, dim=1),)


class FastBottleneck(nn.Module):
    """A Ghost bottleneck whose input and output may be in parts."""

    def __init__(self, block: GhostBottleneck, sizes: Sequence[int]) -> None:
        super().__init__()
        self.ghost1 = FastGhostModule(block.ghost1, sizes, relu=True)
        middle = _sizes(block.ghost1)
        self.depthwise = Depthwise(block.conv_dw, middle) if block.has_stride else None
        self.se = block.se
        self.ghost2 = FastGhostModule(block.ghost2, middle, relu=False)
        self.shortcut_depthwise: Depthwise | None = None
        if len(block.shortcut):
            self.shortcut_depthwise = Depthwise(block.shortcut[0], sizes, block.shortcut_relu)
            pointwise, spans = block.shortcut[2], _spans(_sizes(block.ghost2))
            self.shortcut = Pointwise(pointwise, sizes)
            self.shortcut_cut = nn.ModuleList(Pointwise(_cut(pointwise, outputs=span), sizes) for span in spans)

    def forward(self, x: Parts) -> Parts:
        """Parts of (N, C_in, H, W) -> parts of (N, C_out, ceil(H/s), ceil(W/s)). The input may be overwritten."""
        maps = self.ghost1.spread(self.ghost1.primary(x))
        maps = maps if self.depthwise is None else self.depthwise(maps)
        maps = maps if self.se is None else _attended(self.se, maps)
        primary = self.ghost2.primary(maps)
        if self.shortcut_depthwise is not None:
            x, out = self.shortcut_depthwise(x), self.ghost2.spread(primary)
            shortcuts = self.shortcut_cut if len(out) > 1 else [self.shortcut]
            return tuple(layer(x, part) for layer, part in zip(shortcuts, out))
        if self.ghost2.cheap is None:
            return (primary.add_(x[0]),)
        if len(x) > 1:
            cheap = self.ghost2.cheap(primary, x[1])  # before the input is added to the primary maps
            return primary.add_(x[0]), cheap
        return (torch.cat((primary, self.ghost2.cheap(primary)), dim=1).add_(x[0]),)


class FastGhostNet(InferenceOnly):
    """A faster form of a GhostNet that `can_be_fast`: no gradients, and `train()` raises a `UserError`.

    (N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i].
    """

    def __init__(self, net: GhostNet) -> None:
        super().__init__()
        self.out_groups, self.out_channels, self.out_strides = net.taps, net.out_channels, net.out_strides
        # the first block adds its input to its output: split both in the same way
        sizes = _sizes(net.blocks[0][0].ghost2)
        self.stem = Conv(net.conv_stem, relu=True)
        self.stem_cut = nn.ModuleList(Conv(_cut(net.conv_stem, outputs=span), relu=True) for span in _spans(sizes))
        self.blocks = nn.ModuleList()
        for group in net.blocks:
            self.blocks.append(nn.ModuleList())
            for block in group:
                if isinstance(block, LastConv):
                    self.blocks[-1].append(Pointwise(block.conv, sizes, relu=True))
                else:
                    self.blocks[-1].append(FastBottleneck(block, sizes))
                    sizes = _sizes(block.ghost2)
        # With stride 2, torch's first window starts at a fixed distance before the first pixel, and TensorFlow's last
        # window ends at that distance after the last pixel. So an image and kernels turned by 180 degrees need no other
        # padding than torch's.
        self.is_turned = net.padding == 'tensorflow'
        if self.is_turned:
            for conv in [module for module in self.modules() if isinstance(module, Conv)]:
                conv.weight = nn.Parameter(conv.weight.flip(2, 3))
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i]."""
        x = (x.flip(2, 3) if self.is_turned else x).contiguous(memory_format=torch.channels_last)
        pixels = x.shape[0] * x.shape[2] * x.shape[3] // 4  # of the stem's output
        large = pixels * len(self.stem.weight) * x.element_size() > LARGE and x.device.type == 'cpu'
        parts: Parts = tuple(conv(x) for conv in (self.stem_cut if large else [self.stem]))
        features = []
        for index, group in enumerate(self.blocks):
            for block in group:
                out = block(parts)
                parts = (out,) if isinstance(out, Tensor) else out
            if index in self.out_groups:
                features.append(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
        return tuple(feature.flip(2, 3) for feature in features) if self.is_turned else tuple(features)


def can_be_fast(net: GhostNet) -> bool:
    """Return whether `FastGhostNet` supports the network.

    It needs convolutions with all norms folded, and Ghost modules that use all maps they make. A network changed by
    `ghostify` is not supported.
    """
    return not any(isinstance(module, GhostConv) or (isinstance(module, GhostModule) and module.surplus)
                   or (isinstance(module, nn.Conv2d) and module.bias is None) for module in net.modules())


def _attended(attention: SqueezeExcite, parts: Parts) -> Parts:
    """Multiply each channel by its attention weight. The input is overwritten and returned."""
    pooled = torch.cat([part.mean((2, 3), keepdim=True) for part in parts], dim=1)  # (N, C, 1, 1)
    gates = attention.gate(pooled).split([part.shape[1] for part in parts], dim=1)
    return tuple(part.mul_(gate) for part, gate in zip(parts, gates))


def _is_large(*parts: Tensor) -> bool:
    """Return whether the parts are on the CPU and too large for a cache."""
    return sum(part.numel() * part.element_size() for part in parts) > LARGE and parts[0].device.type == 'cpu'


def _sizes(module: GhostModule) -> list[int]:
    primary = module.primary_conv[0].out_channels
    return [primary] if module.cheap_operation is None else [primary, module.out_channels - primary]


def _spans(sizes: Sequence[int]) -> Iterator[slice]:
    return (slice(*ends) for ends in pairwise(accumulate(sizes, initial=0)))


def _cut(conv: nn.Conv2d, inputs: slice = slice(None), outputs: slice = slice(None), bias: bool = True) -> nn.Conv2d:
    """Return a convolution with some channels of `conv`, which must be depthwise or have one group."""
    weight = conv.weight.detach()[outputs, inputs].clone()
    channels, groups = (len(weight), len(weight)) if conv.groups > 1 else (weight.shape[1], 1)
    part = nn.Conv2d(channels, len(weight), conv.kernel_size, conv.stride, conv.padding, groups=groups, bias=bias)
    part.weight = nn.Parameter(weight)
    if bias and conv.bias is not None:
        part.bias = nn.Parameter(conv.bias.detach()[outputs].clone())
    return part
