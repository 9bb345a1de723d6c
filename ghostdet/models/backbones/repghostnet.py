"""The RepGhostNet backbone, registered with MMDetection as `RepGhostNet`."""
from functools import partial
from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor, nn

from ghostdet.models import arch
from ghostdet.models.blocks import GhostBottleneck, build_norm, conv_norm
from ghostdet.models.branches import Branched
from ghostdet.models.family import GhostFamily


class RepGhostModule(Branched):
    """A Ghost module that adds, not concatenates: a 1x1 convolution, then a depthwise 3x3 plus a norm, then ReLU.

    The sum folds into the depthwise convolution, so that two plain convolutions are left for inference.

    (N, C_in, H, W) -> (N, C_out, H, W). Source: arXiv 2211.06088, section 3.

    Args:
        relu: add a ReLU after the 1x1 convolution and after the sum.

    Examples:
        >>> import torch
        >>> RepGhostModule(8, 12, norm_cfg=dict(type='BN'))(torch.rand(1, 8, 5, 5)).shape
        torch.Size([1, 12, 5, 5])
    """

    sums: ClassVar = dict(cheap=('cheap_operation', 'fusion_bn'))

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict, relu: bool = True) -> None:
        super().__init__()
        self.primary_conv = nn.Sequential(*conv_norm(in_channels, out_channels, 1, norm_cfg, relu=relu))
        self.cheap_operation = nn.Sequential(*conv_norm(out_channels, out_channels, 3, norm_cfg, groups=out_channels))
        self.fusion_bn = nn.Sequential(build_norm(norm_cfg, out_channels))
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        return self.relu(self.add_up('cheap', self.primary_conv(x)))


@MODELS.register_module()
class RepGhostNet(GhostFamily):
    """The RepGhostNet backbone with multi-scale outputs: GhostNet with RepGhost modules and half the expanded channels.

    (N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i].
    Source: arXiv 2211.06088. Arguments, attributes and errors are those of `GhostFamily`. `ghostdet.deploy.fold` makes
    the form for inference.

    Examples:
        >>> import torch
        >>> model = RepGhostNet(width=1.11)
        >>> [tuple(feature.shape) for feature in model(torch.rand(1, 3, 64, 96))]
        [(1, 28, 16, 24), (1, 44, 8, 12), (1, 124, 4, 6), (1, 176, 2, 3)]
    """

    def _architecture(self, width: float) -> arch.Architecture:
        return arch.repghostnet(width)

    def _block(self, in_channels: int, row: arch.Bottleneck, norm_cfg: dict) -> nn.Module:
        ghost = partial(RepGhostModule, norm_cfg=norm_cfg)
        return GhostBottleneck(in_channels, row, ghost, partial(ghost, relu=False), norm_cfg)
