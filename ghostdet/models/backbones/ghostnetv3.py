"""The GhostNetV3 backbone, registered with MMDetection as `GhostNetV3`."""
from collections import OrderedDict
from functools import partial
from typing import ClassVar

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from ghostdet.models import arch
from ghostdet.models.backbones.ghostnetv2 import attend, long_range_attention
from ghostdet.models.blocks import GhostBottleneck, build_norm, conv_norm
from ghostdet.models.branches import Branched
from ghostdet.models.family import GhostFamily

COPIES = 3  # branches with a convolution of the full size in each sum


class BranchedGhostModule(Branched):
    """A Ghost module whose two convolutions are sums of branches; its maps may be multiplied by long-range attention.

    (N, C_in, H, W) -> (N, C_out, H, W), C_out even. Source: arXiv 2404.11202, section 3.1, and its authors' code.

    Args:
        relu: add a ReLU after each sum.
        attention: multiply the maps by long-range attention, as GhostNetV2 does.
    """

    sums: ClassVar = dict(primary=('primary_rpr_conv',), cheap=('cheap_rpr_conv', 'cheap_rpr_scale', 'cheap_rpr_skip'))

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict, relu: bool = True,
                 attention: bool = False) -> None:
        super().__init__()
        half = out_channels // 2
        self.primary_rpr_conv = _copies(in_channels, half, 1, norm_cfg)
        self.cheap_rpr_conv = _copies(half, half, 3, norm_cfg, groups=half)
        self.cheap_rpr_scale = _branch(half, half, 1, norm_cfg, groups=half)
        self.cheap_rpr_skip = build_norm(norm_cfg, half)
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()
        self.short_conv = long_range_attention(in_channels, out_channels, norm_cfg) if attention else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        primary = self.relu(self.add_up('primary', x))
        maps = torch.cat([primary, self.relu(self.add_up('cheap', primary))], dim=1)
        return maps if self.short_conv is None else attend(maps, self.short_conv, x)


class BranchedBottleneck(GhostBottleneck, Branched):
    """GhostNet's residual block with a sum of branches in place of its depthwise convolution.

    (N, C_in, H, W) -> (N, row.out, ceil(H/s), ceil(W/s)), s = row.stride.
    """

    sums: ClassVar = dict(depthwise=('dw_rpr_conv', 'dw_rpr_scale'))

    def _build_depthwise(self, row: arch.Bottleneck, norm_cfg: dict, _: str) -> None:
        channels = row.expanded
        self.dw_rpr_conv = _copies(channels, channels, row.kernel, norm_cfg, row.stride, channels)
        self.dw_rpr_scale = _branch(channels, channels, 1, norm_cfg, row.stride, channels)

    def _depthwise(self, x: Tensor) -> Tensor:
        return self.add_up('depthwise', x)


def _branch(in_channels: int, out_channels: int, kernel: int, norm_cfg: dict, stride: int = 1,
            groups: int = 1) -> nn.Sequential:
    conv, norm = conv_norm(in_channels, out_channels, kernel, norm_cfg, stride, groups)
    return nn.Sequential(OrderedDict(conv=conv, bn1=norm))


def _copies(in_channels: int, out_channels: int, kernel: int, norm_cfg: dict, stride: int = 1,
            groups: int = 1) -> nn.ModuleList:
    return nn.ModuleList(_branch(in_channels, out_channels, kernel, norm_cfg, stride, groups) for _ in range(COPIES))


@MODELS.register_module()
class GhostNetV3(GhostFamily):
    """The GhostNetV3 backbone with multi-scale outputs: GhostNetV2 whose Ghost modules train with branches.

    (N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i].
    Source: arXiv 2404.11202. Arguments, attributes and errors are those of `GhostFamily`. `ghostdet.deploy.fold` makes
    the form for inference.

    Examples:
        >>> import torch
        >>> model = GhostNetV3(width=1.0).eval()
        >>> [tuple(feature.shape) for feature in model(torch.rand(1, 3, 64, 96))]
        [(1, 24, 16, 24), (1, 40, 8, 12), (1, 112, 4, 6), (1, 160, 2, 3)]
    """

    def _architecture(self, width: float) -> arch.Architecture:
        return arch.ghostnetv2(width)

    def _block(self, in_channels: int, row: arch.Bottleneck, norm_cfg: dict) -> nn.Module:
        ghost = partial(BranchedGhostModule, norm_cfg=norm_cfg)
        ghost1, ghost2 = partial(ghost, attention=row.long_range), partial(ghost, relu=False)
        return BranchedBottleneck(in_channels, row, ghost1, ghost2, norm_cfg)
