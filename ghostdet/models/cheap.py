"""Cheap operations: what a Ghost convolution makes the rest of its feature maps by.

A new one is a module with the arguments `channels`, `times` and `dw_size`, registered by name:

    @CHEAP.register_module('my_operation')
    class MyOperation(nn.Module): ...

It turns (N, channels, H, W) into (N, channels * times, H, W), the maps made of one primary map beside each other, and does so
without N, too. It is linear, and raises ValueError where its arguments make no sense. Weights are a parameter `weight` of its
own, whose first index is the map that is made, so that its work is counted. They are not those of a Conv2d inside: the initial
weights that detectors give all their Conv2d, of a standard deviation of 0.01 in RetinaNet, are meant for sums over thousands of
values, and would leave a depthwise one next to nothing.
"""
from collections.abc import Sequence

import torch
from mmengine.registry import Registry
from torch import Tensor, nn
from torch.nn import functional

CHEAP = Registry('cheap operation', scope='ghostdet')


@CHEAP.register_module('depthwise')
class Depthwise(nn.Module):
    """The paper's: `times` filters of dw_size x dw_size on each map. Source: arXiv 1911.11907, section 3.1.

    (N, C, H, W) -> (N, C * times, H, W).
    """

    def __init__(self, channels: int, times: int, dw_size: int) -> None:
        super().__init__()
        _check_odd(dw_size)
        self.channels, self.dw_size = channels, dw_size
        self.weight = nn.Parameter(torch.empty(channels * times, 1, dw_size, dw_size))
        nn.init.kaiming_normal_(self.weight, nonlinearity='linear')  # as much variance out as in

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C * times, H, W)."""
        return functional.conv2d(x, self.weight, padding=self.dw_size // 2, groups=self.channels)

    def extra_repr(self) -> str:
        """As a Conv2d is printed."""
        return f'{self.channels}, {len(self.weight)}, dw_size={self.dw_size}'


@CHEAP.register_module('mixed')
class Mixed(nn.Module):
    """Depthwise filters of several sizes: `dw_size` names them, and the maps are shared out between them.

    (N, C, H, W) -> (N, C * times, H, W).
    """

    def __init__(self, channels: int, times: int, dw_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(dw_size, Sequence) or len(dw_size) < 2:
            raise ValueError(f'dw_size={dw_size!r} has to be several sizes, as (3, 5)')
        self.shares = _shares(channels, len(dw_size))
        self.parts = nn.ModuleList(Depthwise(share, times, size) for share, size in zip(self.shares, dw_size))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C * times, H, W)."""
        return torch.cat([part(maps) for part, maps in zip(self.parts, x.split(self.shares, dim=-3))], dim=-3)


@CHEAP.register_module('shift')
class Shift(nn.Module):
    """Maps moved by up to dw_size // 2 pixels, each share of them in another direction; zeros come in.

    No weights, no multiplications. (N, C, H, W) -> (N, C * times, H, W). Source: Wu et al., Shift, arXiv 1711.08141.
    """

    def __init__(self, channels: int, times: int, dw_size: int) -> None:
        super().__init__()
        _check_odd(dw_size)
        moves = [divmod(place, dw_size) for place in range(dw_size ** 2) if place != dw_size ** 2 // 2]
        if times > len(moves):
            raise ValueError(f'dw_size={dw_size} has {len(moves)} directions to move a map in, and {times} are wanted')
        self.reach, self.shares = dw_size // 2, _shares(channels, len(moves))
        self.turns = [moves[turn:] + moves[:turn] for turn in range(times)]  # two maps of one never move alike

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C * times, H, W)."""
        height, width = x.shape[-2:]
        parts = functional.pad(x, [self.reach] * 4).split(self.shares, dim=-3)
        moved = [torch.cat([part[..., y:y + height, x:x + width] for part, (y, x) in zip(parts, moves)], dim=-3)
                 for moves in self.turns]
        return torch.stack(moved, dim=-3).flatten(-4, -3)


@CHEAP.register_module('negation')
class Negation(nn.Module):
    """Each map's opposite, which a ReLU lets through where it stops the map itself. No weights; `dw_size` has no meaning.

    (N, C, H, W) -> (N, C, H, W). Source: Shang et al., CReLU, arXiv 1603.05201.
    """

    def __init__(self, channels: int, times: int, dw_size: int) -> None:
        super().__init__()
        if times != 1:
            raise ValueError(f'a map has one opposite, and {times} are wanted: ratio=2')

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return -x


def _check_odd(dw_size: int) -> None:
    if not isinstance(dw_size, int) or isinstance(dw_size, bool) or dw_size < 1 or dw_size % 2 == 0:
        raise ValueError(f'dw_size={dw_size!r} has to be an odd integer of at least 1')


def _shares(channels: int, number: int) -> list[int]:
    """`channels` shared out as evenly as can be; those that would get nothing are left out."""
    return [len(share) for share in torch.arange(channels).tensor_split(number) if len(share)]
