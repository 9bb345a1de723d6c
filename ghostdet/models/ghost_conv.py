"""The Ghost module as a drop-in convolution."""
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import kaiming_init
from mmengine.registry import MODELS
from torch import Tensor, nn

from ghostdet.models.cheap import CHEAP


@MODELS.register_module()
class GhostConv(nn.Module):
    """A Conv2d makes the primary feature maps; a cheap operation makes the other maps from them.

    `conv_cfg=dict(type='GhostConv', ratio=2, dw_size=3)` turns any part of MMDetection into its Ghost version.

    (N, C_in, H, W) -> (N, C_out, H', W'). The first arguments are those of nn.Conv2d, and H' and W' are the same as
    with nn.Conv2d. Like a convolution it is linear: the caller adds norm and activation. Source: arXiv 1911.11907,
    section 3.1.

    Args:
        ratio: output maps per primary map, the paper's s; 1 gives an ordinary convolution.
        dw_size: kernel size of the cheap operation, the paper's d; odd. 'mixed' takes several sizes.
        cheap: name of a cheap operation in `ghostdet.models.cheap.CHEAP`: 'depthwise', 'mixed', 'shift', 'negation', or
            your own.

    Raises:
        ValueError: `groups` is not 1; `out_channels`, `ratio`, `dw_size` or `cheap` is not allowed.

    Examples:
        >>> GhostConv(8, 13, 3, stride=2, padding=1)(torch.rand(1, 8, 9, 9)).shape
        torch.Size([1, 13, 5, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],
                 stride: int | tuple[int, int] = 1, padding: int | str | tuple[int, int] = 0,
                 dilation: int | tuple[int, int] = 1, groups: int = 1, bias: bool = True, padding_mode: str = 'zeros',
                 device: Any = None, dtype: torch.dtype | None = None, *, ratio: int = 2,
                 dw_size: int | Sequence[int] = 3, cheap: str = 'depthwise') -> None:
        super().__init__()
        _check_arguments(out_channels, groups, ratio, cheap)
        primary = -(-out_channels // ratio)
        # cheap maps per primary map: ratio - 1, or fewer if out_channels is small
        self.times = -(-out_channels // primary) - 1
        self.primary = nn.Conv2d(in_channels, primary, kernel_size, stride, padding, dilation,
                                 bias=bias and not self.times, padding_mode=padding_mode)
        self.cheap = _cheap(cheap, primary, self.times, dw_size) if self.times else None
        # One bias per output map, as in a convolution. Added last: the cheap operation works on maps without it.
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias and self.times else None
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        # ConvModule reads these attributes of a convolution.
        for name in ('kernel_size', 'stride', 'padding', 'dilation', 'transposed', 'output_padding', 'padding_mode'):
            setattr(self, name, getattr(self.primary, name))
        kaiming_init(self.primary)  # the same as ConvModule uses
        self.to(device=device, dtype=dtype)

    def init_weights(self) -> None:
        """Keep the weights as they are; ConvModule does not initialise a convolution that has this method.

        A detector that initialises every Conv2d still initialises the primary convolution.
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
            raise AttributeError('a GhostConv has no single weight; its parts primary and cheap have their own. A '
                                 'module that reads the weight of its convolution needs an ordinary one: remove '
                                 'conv_cfg there')
        return super().__getattr__(name)


def _check_arguments(out_channels: int, groups: int, ratio: int, cheap: str) -> None:
    if groups != 1:
        raise ValueError(f'GhostConv: groups={groups}: the cheap operation would cost as much as the grouped or '
                         'depthwise convolution that it replaces. Remove conv_cfg where groups are used')
    if out_channels < 1:
        raise ValueError(f'GhostConv: out_channels={out_channels} must be at least 1')
    if not isinstance(ratio, int) or isinstance(ratio, bool) or ratio < 1:
        raise ValueError(f'GhostConv: ratio={ratio!r} must be an integer of at least 1')
    if not isinstance(cheap, str) or cheap not in CHEAP.module_dict:
        raise ValueError(f'GhostConv: there is no cheap operation {cheap!r}; use one of {", ".join(CHEAP.module_dict)}')


def _cheap(name: str, primary: int, times: int, dw_size: int | Sequence[int]) -> nn.Module:
    try:
        return CHEAP.module_dict[name](primary, times, dw_size)
    except ValueError as error:
        raise ValueError(f'GhostConv: cheap={name!r}: {error}') from error
