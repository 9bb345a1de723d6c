"""The Ghost module as a convolution: some maps by a Conv2d, the others from those by a cheap operation."""
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import kaiming_init
from mmengine.registry import MODELS
from torch import Tensor, nn

from ghostdet.models.cheap import CHEAP


@MODELS.register_module()
class GhostConv(nn.Module):
    """A convolution whose maps are partly made of the others.

    `conv_cfg=dict(type='GhostConv', ratio=2, dw_size=3)` turns any part of MMDetection into its Ghost version.

    (N, C_in, H, W) -> (N, C_out, H', W'), H' and W' those of nn.Conv2d with the same arguments, which come first. Like a
    convolution it is linear: norm and activation are left to whoever calls. Source: arXiv 1911.11907, section 3.1.

    Args:
        ratio: feature maps for each primary one, the paper's s; 1 is an ordinary convolution.
        dw_size: kernel of the cheap operation, the paper's d; odd. 'mixed' takes several.
        cheap: name of a cheap operation in `ghostdet.models.cheap.CHEAP`: 'depthwise', 'mixed', 'shift', 'negation', or your own.

    Raises:
        ValueError: `groups` is not 1; `out_channels`, `ratio`, `dw_size` or `cheap` is not allowed.

    Example:
        >>> GhostConv(8, 13, 3, stride=2, padding=1)(torch.rand(1, 8, 9, 9)).shape
        torch.Size([1, 13, 5, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],
                 stride: int | tuple[int, int] = 1, padding: int | str | tuple[int, int] = 0,
                 dilation: int | tuple[int, int] = 1, groups: int = 1, bias: bool = True, padding_mode: str = 'zeros',
                 device: Any = None, dtype: torch.dtype | None = None, *, ratio: int = 2, dw_size: int | Sequence[int] = 3,
                 cheap: str = 'depthwise') -> None:
        super().__init__()
        _check_arguments(out_channels, groups, ratio, cheap)
        primary = -(-out_channels // ratio)
        self.times = -(-out_channels // primary) - 1  # ratio - 1, or as many as there are channels for
        self.primary = nn.Conv2d(in_channels, primary, kernel_size, stride, padding, dilation, bias=bias and not self.times,
                                 padding_mode=padding_mode)
        self.cheap = _cheap(cheap, primary, self.times, dw_size) if self.times else None
        # Of all maps, added last: the cheap ones are made of what the filters gave, and each map has its own as in a convolution.
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias and self.times else None
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        # What ConvModule reads of a convolution.
        for name in ('kernel_size', 'stride', 'padding', 'dilation', 'transposed', 'output_padding', 'padding_mode'):
            setattr(self, name, getattr(self.primary, name))
        kaiming_init(self.primary)  # as ConvModule's own
        self.to(device=device, dtype=dtype)

    def init_weights(self) -> None:
        """Keep the weights: ConvModule asks those that have this method, and then leaves them alone.

        What detectors do to every Conv2d in them reaches the primary convolution.
        """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        primary = self.primary(x)
        if self.cheap is None:
            return primary
        maps = torch.cat([primary, self.cheap(primary)], dim=-3)
        if maps.shape[-3] > self.out_channels:
            maps = maps[..., :self.out_channels, :, :]
        return maps if self.bias is None else maps.add_(self.bias[:, None, None])

    def __getattr__(self, name: str) -> Any:
        if name == 'weight':
            raise AttributeError('a GhostConv has no one weight, but those of its parts primary and cheap: what reads the weight '
                                 'of a convolution, and does not only call it, needs an ordinary one, without this conv_cfg')
        return super().__getattr__(name)


def _check_arguments(out_channels: int, groups: int, ratio: int, cheap: str) -> None:
    if groups != 1:
        raise ValueError(f'GhostConv: groups={groups}: the cheap operation would cost as much as the grouped or depthwise '
                         'convolution that it replaces. Leave conv_cfg out where groups are asked for')
    if out_channels < 1:
        raise ValueError(f'GhostConv: out_channels={out_channels} has to be at least 1')
    if not isinstance(ratio, int) or isinstance(ratio, bool) or ratio < 1:
        raise ValueError(f'GhostConv: ratio={ratio!r} has to be an integer of at least 1')
    if not isinstance(cheap, str) or cheap not in CHEAP.module_dict:
        raise ValueError(f'GhostConv: there is no cheap operation {cheap!r}; there are {", ".join(CHEAP.module_dict)}')


def _cheap(name: str, primary: int, times: int, dw_size: int | Sequence[int]) -> nn.Module:
    try:
        return CHEAP.module_dict[name](primary, times, dw_size)
    except ValueError as error:
        raise ValueError(f'GhostConv: cheap={name!r}: {error}') from error
