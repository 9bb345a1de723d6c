"""The building blocks of GhostNet. Module names match the published weights."""
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from ghostdet.models.arch import Bottleneck
from ghostdet.models.compiling import is_compiling


def conv_norm(in_channels: int, out_channels: int, kernel: int | tuple[int, int], norm_cfg: dict, stride: int = 1,
              groups: int = 1, relu: bool = False, padding: str = 'torch', slope: float = 0.) -> list[nn.Module]:
    """Return a convolution without bias, a norm layer and, if `relu`, a ReLU.

    (N, C_in, H, W) -> (N, C_out, ceil(H/s), ceil(W/s)) for an odd `kernel` (or height and width of one) and stride s.

    Args:
        padding: 'torch' pads all sides equally; 'tensorflow' pads as in `SameConv2d`. With stride 1 both are the same.
        slope: of the ReLU below zero.
    """
    kind = SameConv2d if padding == 'tensorflow' and stride > 1 else nn.Conv2d
    zeros = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    conv = kind(in_channels, out_channels, kernel, stride, zeros, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, build_norm(norm_cfg, out_channels)]
    if relu:
        layers.append(nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True))
    return layers


class SameConv2d(nn.Conv2d):
    """A strided convolution that pads as TensorFlow's SAME does. Its kernel is at least as large as its stride.

    (N, C_in, H, W) -> (N, C_out, ceil(H/s), ceil(W/s)). The argument `padding` has no effect.

    Examples:
        >>> SameConv2d(8, 12, 3, stride=2)(torch.rand(1, 8, 6, 7)).shape
        torch.Size([1, 12, 3, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, ceil(H/s), ceil(W/s))."""
        return same_conv2d(x, self.weight, self.bias, self.stride, self.groups)


def same_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], groups: int) -> Tensor:
    """Convolve with TensorFlow's SAME padding: half of the zeros before each row and column, the odd one after it.

    (N, C_in, H, W) -> (N, C_out, ceil(H/s), ceil(W/s)). Source: the notes on padding in TensorFlow's documentation of
    `tf.nn`.
    """
    # An int, because compilers and exporters would carry a symbol through all later sizes.
    zeros = [side - step + -int(length % step) % step
             for side, step, length in zip(weight.shape[2:], stride, x.shape[2:])]
    if is_compiling():  # or exporting: both merge the two operations, and the sizes stay simpler
        ends = [end for number in reversed(zeros) for end in (number // 2, number - number // 2)]
        return nn.functional.conv2d(nn.functional.pad(x, ends), weight, bias, stride, groups=groups)
    # torch's convolutions pad equally. So for an odd number of zeros this one starts one stride early, and its first
    # output is dropped. With a padded copy of x, autograd would keep that copy beside x.
    early = [number % 2 for number in zeros]
    padding = [number // 2 + step * one for number, step, one in zip(zeros, stride, early)]
    out = nn.functional.conv2d(x, weight, bias, stride, padding, groups=groups)
    return out[:, :, early[0]:, early[1]:] if any(early) else out


def build_norm(norm_cfg: dict, channels: int) -> nn.Module:
    """Return a norm layer for `channels`.

    Raises:
        ValueError: `norm_cfg` is invalid, or a group norm's `num_groups` does not divide `channels`.
    """
    try:
        return build_norm_layer(norm_cfg, channels)[1]
    except (AssertionError, ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'norm_cfg={norm_cfg!r} is not allowed for a layer with {channels} channels: give the type '
                         'and the '
                         "arguments of a norm layer, e.g. dict(type='BN') or dict(type='GN', num_groups=2); num_groups "
                         "must "
                         f'divide the channels of every layer ({type(error).__name__}: {error})') from error


class GhostModule(nn.Module):
    """A 1x1 convolution makes the primary feature maps; a cheap depthwise convolution makes the others from them.

    (N, C_in, H, W) -> (N, C_out, H, W). Source: arXiv 1911.11907, section 3.1.

    Args:
        ratio: output maps per primary map, the paper's s; 1 gives an ordinary 1x1 convolution.
        dw_size: kernel size of the depthwise convolution, the paper's d; odd.
        relu: add a ReLU after each norm.
        slope: of the ReLU below zero.

    Examples:
        >>> GhostModule(8, 12, ratio=2, dw_size=3, norm_cfg=dict(type='BN'))(torch.rand(1, 8, 5, 5)).shape
        torch.Size([1, 12, 5, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, ratio: int, dw_size: int, norm_cfg: dict,
                 relu: bool = True, slope: float = 0.) -> None:
        super().__init__()
        self.out_channels = out_channels
        primary = math.ceil(out_channels / ratio)
        cheap = primary * (ratio - 1)
        self.times = ratio - 1  # cheap maps per primary map
        self.surplus = primary + cheap - out_channels
        self.primary_conv = nn.Sequential(*conv_norm(in_channels, primary, 1, norm_cfg, relu=relu, slope=slope))
        self.cheap_operation = (
            nn.Sequential(*conv_norm(primary, cheap, dw_size, norm_cfg, groups=primary, relu=relu, slope=slope))
            if cheap else None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        primary = self.primary_conv(x)
        if self.cheap_operation is None:
            return primary
        maps = torch.cat([primary, self.cheap_operation(primary)], dim=1)
        return maps[:, :self.out_channels] if self.surplus else maps


class SqueezeExcite(nn.Module):
    """Channel attention with the gate relu6(x + 3) / 6. (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeeze, 1)
        self.conv_expand = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x * self.gate(x.mean((2, 3), keepdim=True))

    def gate(self, pooled: Tensor) -> Tensor:
        """Channel means (N, C, 1, 1) -> channel factors from 0 to 1, (N, C, 1, 1)."""
        return nn.functional.hardsigmoid(self.conv_expand(nn.functional.relu(self.conv_reduce(pooled))))


class GhostBottleneck(nn.Module):
    """The residual block of GhostNet and its successors: two Ghost modules and a shortcut.

    Between the Ghost modules are a depthwise convolution, if the stride is 2, and channel attention, if the row has it.

    (N, C_in, H, W) -> (N, row.out, ceil(H/s), ceil(W/s)), s = row.stride. Source: arXiv 1911.11907, section 3.2.

    Args:
        ghost1, ghost2: make a Ghost module, (N, C_in, H, W) -> (N, C_out, H, W), from C_in and C_out.
        shortcut_relu: add a ReLU after the shortcut's depthwise convolution.
        padding: of the strided convolutions, as in `conv_norm`.
    """

    def __init__(self, in_channels: int, row: Bottleneck, ghost1: Callable[[int, int], nn.Module],
                 ghost2: Callable[[int, int], nn.Module], norm_cfg: dict, shortcut_relu: bool = False,
                 padding: str = 'torch') -> None:
        super().__init__()
        self.ghost1 = ghost1(in_channels, row.expanded)
        self.has_stride = row.stride > 1
        if self.has_stride:
            self._build_depthwise(row, norm_cfg, padding)
        self.se = SqueezeExcite(row.expanded, row.squeeze) if row.squeeze else None
        self.ghost2 = ghost2(row.expanded, row.out)
        self.shortcut = nn.Sequential()  # the identity
        self.shortcut_relu = False
        if self.has_stride or in_channels != row.out:
            self.shortcut_relu = shortcut_relu
            self.shortcut = nn.Sequential(
                *conv_norm(in_channels, in_channels, row.kernel, norm_cfg, row.stride, in_channels, padding=padding),
                *conv_norm(in_channels, row.out, 1, norm_cfg))

    def _build_depthwise(self, row: Bottleneck, norm_cfg: dict, padding: str) -> None:
        self.conv_dw, self.bn_dw = conv_norm(row.expanded, row.expanded, row.kernel, norm_cfg, row.stride, row.expanded,
                                             padding=padding)

    def _depthwise(self, x: Tensor) -> Tensor:
        return self.bn_dw(self.conv_dw(x))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, ceil(H/s), ceil(W/s))."""
        out = self.ghost1(x)
        if self.has_stride:
            out = self._depthwise(out)
        if self.se is not None:
            out = self.se(out)
        out = self.ghost2(out)
        if self.shortcut_relu:
            out += self.shortcut[2:](nn.functional.relu(self.shortcut[:2](x)))
        else:
            out += self.shortcut(x)
        return out


class LastConv(nn.Sequential):
    """The 1x1 convolution after C5, its norm and ReLU. (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict) -> None:
        conv, norm, relu = conv_norm(in_channels, out_channels, 1, norm_cfg, relu=True)
        super().__init__(OrderedDict(conv=conv, bn1=norm, act1=relu))
