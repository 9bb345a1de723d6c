"""The GhostNetV2 backbone, registered with MMDetection as `GhostNetV2`."""
from functools import partial

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from ghostdet.models import arch
from ghostdet.models.blocks import GhostBottleneck, GhostModule, conv_norm
from ghostdet.models.compiling import statically_known_true
from ghostdet.models.family import GhostFamily


def long_range_attention(in_channels: int, out_channels: int, norm_cfg: dict) -> nn.Sequential:
    """Return the convolutions of decoupled fully connected (DFC) attention. (N, C_in, H, W) -> (N, C_out, H, W).

    A 1x1 convolution, then one over the neighbours in a row, then one over those in a column. Source: arXiv 2211.12905,
    section 4.1.
    """
    row, column = (conv_norm(out_channels, out_channels, kernel, norm_cfg, groups=out_channels)
                   for kernel in ((1, 5), (5, 1)))
    return nn.Sequential(*conv_norm(in_channels, out_channels, 1, norm_cfg), *row, *column)


def attend(maps: Tensor, attention: nn.Sequential, x: Tensor) -> Tensor:
    """Multiply `maps` (N, C_out, H, W) by the attention that `x` (N, C_in, H, W) gives, at half the resolution.

    The norms of the attention see a quarter of the pixels. So training with batch norm needs two images, or one whose
    C5 has more than 2x2 pixels.
    """
    weights = attention(halve(x)).sigmoid()
    return maps * nn.functional.interpolate(weights, size=maps.shape[-2:], mode='nearest')


def halve(x: Tensor) -> Tensor:
    """Average 2x2 pixels, without the last row or column if there is an odd number. A side of one pixel stays.

    (N, C, H, W) -> (N, C, max(floor(H/2), 1), max(floor(W/2), 1)).

    >>> halve(torch.ones(1, 1, 1, 5)).shape
    torch.Size([1, 1, 1, 2])
    """
    if not all(map(_is_long, x.shape[-2:])):
        # 1 // side is 1 for one pixel, else 0: no branch, so that an exported program takes any size.
        x = nn.functional.interpolate(x, size=[side + 1 // side for side in x.shape[-2:]], mode='nearest')
    return nn.functional.avg_pool2d(x, 2)


def _is_long(side: int | torch.SymInt) -> bool:
    """Return whether a side has more than one pixel; of lengths left open at export, only those never short count."""
    return side > 1 if isinstance(side, int) else statically_known_true(side > 2)


class AttentiveGhostModule(GhostModule):
    """A Ghost module whose maps are multiplied by long-range attention. (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, ratio: int, dw_size: int, norm_cfg: dict) -> None:
        super().__init__(in_channels, out_channels, ratio, dw_size, norm_cfg)
        self.short_conv = long_range_attention(in_channels, out_channels, norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        return attend(super().forward(x), self.short_conv, x)


@MODELS.register_module()
class GhostNetV2(GhostFamily):
    """The GhostNetV2 backbone: GhostNet with long-range attention from the third bottleneck on.

    (N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i].
    Source: arXiv 2211.12905. Arguments, attributes and errors are those of `GhostFamily`.

    Examples:
        >>> import torch
        >>> model = GhostNetV2(width=1.3).eval()
        >>> [tuple(feature.shape) for feature in model(torch.rand(1, 3, 64, 96))]
        [(1, 32, 16, 24), (1, 52, 8, 12), (1, 144, 4, 6), (1, 208, 2, 3)]
    """

    def _architecture(self, width: float) -> arch.Architecture:
        return arch.ghostnetv2(width)

    def _block(self, in_channels: int, row: arch.Bottleneck, norm_cfg: dict) -> nn.Module:
        plain, attentive = (partial(kind, ratio=2, dw_size=3, norm_cfg=norm_cfg)
                            for kind in (GhostModule, AttentiveGhostModule))
        return GhostBottleneck(in_channels, row, attentive if row.long_range else plain, partial(plain, relu=False),
                               norm_cfg)
