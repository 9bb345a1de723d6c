"""Cheap operations: they make the other feature maps of a Ghost convolution from its primary maps.

To add one, write a module with the arguments `channels`, `times` and `dw_size` and register it by name:

    @CHEAP.register_module('my_operation')
    class MyOperation(nn.Module): ...

The module must meet these rules:

- It turns (N, channels, H, W) into (N, channels * times, H, W). The maps made from one primary map are next to each
  other.
- It also accepts input without N.
- It is linear.
- It raises ValueError if its arguments are invalid.
- Its weights are its own parameter `weight`; `weight[i]` makes output map i. This lets `ghostdet complexity` count its
  work.
- It contains no Conv2d. Detectors initialise every Conv2d again, RetinaNet with a standard deviation of 0.01. That
  suits sums over thousands of values; the output of a depthwise convolution would be almost zero.
"""
from collections.abc import Sequence

import torch
from mmengine.registry import Registry
from torch import Tensor, nn
from torch.nn import functional

CHEAP = Registry('cheap operation', scope='ghostdet')


@CHEAP.register_module('depthwise')
class Depthwise(nn.Module):
    """The paper's cheap operation: `times` filters of dw_size x dw_size per map. Source: arXiv 1911.11907, section 3.1.

    (N, C, H, W) -> (N, C * times, H, W).
    """

    def __init__(self, channels: int, times: int, dw_size: int) -> None:
        super().__init__()
        _check_odd(dw_size)
        self.channels, self.dw_size = channels, dw_size
        self.weight = nn.Parameter(torch.empty(channels * times, 1, dw_size, dw_size))
        nn.init.kaiming_normal_(self.weight, nonlinearity='linear')  # keeps the variance

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C * times, H, W)."""
        return functional.conv2d(x, self.weight, padding=self.dw_size // 2, groups=self.channels)

    def extra_repr(self) -> str:
        """Return the settings in the style of Conv2d."""
        return f'{self.channels}, {len(self.weight)}, dw_size={self.dw_size}'


@CHEAP.register_module('mixed')
class Mixed(nn.Module):
    """Depthwise filters of several sizes: `dw_size` lists the sizes, and each size gets an equal share of the maps.

    (N, C, H, W) -> (N, C * times, H, W).
    """

    def __init__(self, channels: int, times: int, dw_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(dw_size, Sequence) or len(dw_size) < 2:
            raise ValueError(f'dw_size={dw_size!r} must be a sequence of at least two sizes, e.g. (3, 5)')
        self.shares = _shares(channels, len(dw_size))
        self.parts = nn.ModuleList(Depthwise(share, times, size) for share, size in zip(self.shares, dw_size))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C * times, H, W)."""
        return torch.cat([part(maps) for part, maps in zip(self.parts, x.split(self.shares, dim=-3))], dim=-3)


@CHEAP.register_module('shift')
class Shift(nn.Module):
    """Shift each map by up to dw_size // 2 pixels. Pixels that enter the map are 0.

    The channels are split into parts of nearly equal size, and each part moves in another direction. No map stays
    unshifted. The `times` results of one input map are neighbours in the output. No weights, no multiplications.

    (N, C, H, W) -> (N, C * times, H, W). Source: Wu et al., Shift, arXiv 1711.08141.
    """

    def __init__(self, channels: int, times: int, dw_size: int) -> None:
        super().__init__()
        _check_odd(dw_size)
        moves = [divmod(place, dw_size) for place in range(dw_size ** 2) if place != dw_size ** 2 // 2]
        if times > len(moves):
            raise ValueError(f'dw_size={dw_size} has {len(moves)} shift directions, but {times} are needed: '
                             'use a larger dw_size or a smaller ratio')
        self.reach, self.shares = dw_size // 2, _shares(channels, len(moves))
        self.turns = [moves[turn:] + moves[:turn] for turn in range(times)]  # maps of one primary map move differently

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C * times, H, W)."""
        height, width = x.shape[-2:]
        parts = functional.pad(x, [self.reach] * 4).split(self.shares, dim=-3)
        moved = [torch.cat([part[..., y:y + height, x:x + width] for part, (y, x) in zip(parts, moves)], dim=-3)
                 for moves in self.turns]
        return torch.stack(moved, dim=-3).flatten(-4, -3)


@CHEAP.register_module('negation')
class Negation(nn.Module):
    """Negate each map: a ReLU then passes what it stops in the map itself.

    No weights; `dw_size` is not used. (N, C, H, W) -> (N, C, H, W). Source: Shang et al., CReLU, arXiv 1603.05201.
    """

    def __init__(self, channels: int, times: int, dw_size: int) -> None:
        super().__init__()
        if times != 1:
            raise ValueError(f'a map has one negative, but {times} are needed: use ratio=2')

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return -x


def _check_odd(dw_size: int) -> None:
    if not isinstance(dw_size, int) or isinstance(dw_size, bool) or dw_size < 1 or dw_size % 2 == 0:
        raise ValueError(f'dw_size={dw_size!r} must be an odd integer of at least 1')


def _shares(channels: int, number: int) -> list[int]:
    """Split `channels` into `number` parts that are as equal as possible; drop empty parts."""
    return [len(share) for share in torch.arange(channels).tensor_split(number) if len(share)]
