"""GhostPAN, the neck of NanoDet-Plus. Module names match the published weights."""
import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ghostdet.models.arch import Bottleneck
from ghostdet.models.blocks import GhostBottleneck, GhostModule, build_norm

SLOPE = 0.1  # of LeakyReLU below zero
BN = dict(type='BN')
# PyTorch's own way to initialise convolutions.
UNIFORM = dict(type='Kaiming', layer='Conv2d', a=math.sqrt(5), distribution='uniform', mode='fan_in',
               nonlinearity='leaky_relu')


class SeparableConv(nn.Sequential):
    """A depthwise convolution and a 1x1 convolution, each followed by norm and LeakyReLU.

    (N, C_in, H, W) -> (N, C_out, ceil(H/s), ceil(W/s)), s = stride.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, norm_cfg: dict, stride: int = 1) -> None:
        depthwise = nn.Conv2d(in_channels, in_channels, kernel_size, stride, kernel_size // 2, groups=in_channels,
                              bias=False)
        super().__init__(OrderedDict(
            depthwise=depthwise, dwnorm=build_norm(norm_cfg, in_channels), act1=nn.LeakyReLU(SLOPE, inplace=True),
            pointwise=nn.Conv2d(in_channels, out_channels, 1, bias=False), pwnorm=build_norm(norm_cfg, out_channels),
            act2=nn.LeakyReLU(SLOPE, inplace=True)))


class GhostBlocks(nn.Module):
    """One Ghost bottleneck without a residual connection over the whole of it. (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, norm_cfg: dict) -> None:
        super().__init__()
        ghost = partial(GhostModule, ratio=2, dw_size=3, norm_cfg=norm_cfg)
        row = Bottleneck(kernel_size, out_channels, out_channels, 0, 1)
        self.blocks = nn.Sequential(GhostBottleneck(
            in_channels, row, partial(ghost, slope=SLOPE), partial(ghost, relu=False), norm_cfg))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        return self.blocks(x)


@MODELS.register_module()
class GhostPAN(BaseModule):
    """A path aggregation network of Ghost bottlenecks: features of C3..C5 go down and up once, and get one more level.

    Features of strides 8, 16, 32, each (N, in_channels[k], H_k, W_k) -> features of strides 8, 16, 32, 64, each
    (N, out_channels, H_k, W_k), of any sizes. The last level has half the sides of the one before it, rounded up.
    Source: RangiLyu/nanodet, NanoDet-Plus.

    Args:
        in_channels: of the backbone's features, from the largest map to the smallest.
        kernel_size: of the depthwise convolutions between levels and in the shortcuts.
        num_extra_level: how many levels to add.

    Examples:
        >>> neck = GhostPAN(in_channels=[44, 124, 176], out_channels=96)
        >>> features = [torch.rand(1, c, 40 // s, 40 // s) for c, s in ((44, 1), (124, 2), (176, 4))]
        >>> [tuple(x.shape) for x in neck(features)]
        [(1, 96, 40, 40), (1, 96, 20, 20), (1, 96, 10, 10), (1, 96, 5, 5)]
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, kernel_size: int = 5, num_extra_level: int = 1,
                 norm_cfg: dict = BN, init_cfg: dict | list[dict] | None = UNIFORM) -> None:
        super().__init__(init_cfg)
        leaky = dict(type='LeakyReLU', negative_slope=SLOPE)
        self.reduce_layers = nn.ModuleList(
            ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=leaky) for channels in in_channels)
        blocks = partial(GhostBlocks, 2 * out_channels, out_channels, kernel_size, norm_cfg)
        down = partial(SeparableConv, out_channels, out_channels, kernel_size, norm_cfg, stride=2)
        steps = range(len(in_channels) - 1)
        self.top_down_blocks = nn.ModuleList(blocks() for _ in steps)
        self.downsamples = nn.ModuleList(down() for _ in steps)
        self.bottom_up_blocks = nn.ModuleList(blocks() for _ in steps)
        self.extra_lvl_in_conv = nn.ModuleList(down() for _ in range(num_extra_level))
        self.extra_lvl_out_conv = nn.ModuleList(down() for _ in range(num_extra_level))

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Features of the backbone -> features of all levels, each (N, out_channels, H_k, W_k)."""
        reduced = [layer(x) for layer, x in zip(self.reduce_layers, inputs, strict=True)]
        inner = [reduced[-1]]  # from the largest map to the smallest
        for block, x in zip(self.top_down_blocks, reduced[-2::-1]):
            larger = nn.functional.interpolate(inner[0], x.shape[2:], mode='bilinear')
            inner.insert(0, block(torch.cat([larger, x], dim=1)))
        outs = [inner[0]]
        for down, block, x in zip(self.downsamples, self.bottom_up_blocks, inner[1:]):
            outs.append(block(torch.cat([down(outs[-1]), x], dim=1)))
        for from_input, from_output in zip(self.extra_lvl_in_conv, self.extra_lvl_out_conv):
            outs.append(from_input(reduced[-1]) + from_output(outs[-1]))
        return tuple(outs)
