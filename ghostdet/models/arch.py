"""The architecture tables of GhostNet and its successors as data, and the scaling of their width.

Sources: GhostNet: More Features from Cheap Operations, CVPR 2020, arXiv 1911.11907, Table 1; GhostNetV2, arXiv
2211.12905; GhostNetV3, arXiv 2404.11202; RepGhost, arXiv 2211.06088, with the authors' code of each.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby


@dataclass(frozen=True)
class Bottleneck:
    """One Ghost bottleneck: one row of the paper's Table 1."""

    kernel: int  # of the depthwise convolutions in the stride-2 path and in the shortcut
    expanded: int  # channels between the two Ghost modules
    out: int  # output channels
    squeeze: int  # channels inside squeeze-and-excitation; 0: no squeeze-and-excitation
    stride: int
    long_range: bool = False  # long-range attention on the first Ghost module


def _row(kernel: int, expanded: int, out: int, se: bool, stride: int) -> Bottleneck:
    return Bottleneck(kernel, expanded, out, torch_rounding(expanded / 4) if se else 0, stride)


def torch_rounding(channels: float) -> int:
    """Round `channels` to a multiple of 4 that is at least 4 and at least 90% of `channels`.

    Source: the authors' PyTorch code.

    >>> torch_rounding(24 * 1.1)
    28
    """
    nearest = max(4, int(channels + 2) // 4 * 4)
    return nearest + 4 if nearest < 0.9 * channels else nearest


def tensorflow_rounding(channels: float) -> int:
    """Round `channels` to the nearest multiple of 4; the result can be 0.

    Drops the fraction of `channels` first. A tie goes to the multiple of 8. Source: the authors' TensorFlow code.

    >>> tensorflow_rounding(24 * 1.1)
    24
    """
    return round(int(channels) / 4) * 4


ROUNDINGS: dict[str, Callable[[float], int]] = dict(torch=torch_rounding, tensorflow=tensorflow_rounding)

STEM = 16  # a 3x3 convolution with stride 2
LAST = 960  # a 1x1 convolution after the bottlenecks
BOTTLENECKS = (
    #    kernel expanded out se stride
    _row(3, 16, 16, False, 1),
    _row(3, 48, 24, False, 2),
    _row(3, 72, 24, False, 1),
    _row(5, 72, 40, True, 2),
    _row(5, 120, 40, True, 1),
    _row(3, 240, 80, False, 2),
    _row(3, 200, 80, False, 1),
    _row(3, 184, 80, False, 1),
    _row(3, 184, 80, False, 1),
    _row(3, 480, 112, True, 1),
    _row(3, 672, 112, True, 1),
    _row(5, 672, 160, True, 2),
    _row(5, 960, 160, False, 1),
    _row(5, 960, 160, True, 1),
    _row(5, 960, 160, False, 1),
    _row(5, 960, 160, True, 1),
)
# GhostNetV2 and V3 add attention to all bottlenecks but the first two.
LONG_RANGE_BOTTLENECKS = tuple(replace(row, long_range=index >= 2) for index, row in enumerate(BOTTLENECKS))
# RepGhost halves the expanded channels, as its maps are added, not concatenated; 184 channels become 120, not 92.
HALF_BOTTLENECKS = tuple(replace(row, expanded=120 if row.expanded == 184 else row.expanded // 2)
                         for row in BOTTLENECKS)


@dataclass(frozen=True)
class Architecture:
    """A network at one width.

    Attributes:
        stem: channels of the first convolution.
        groups: consecutive rows of the table with the same stride. The published weights call them `blocks.0`,
            `blocks.1`, ...
        last: channels of the 1x1 convolution after the bottlenecks.
        taps: `taps[i]` is the index of the group that outputs C(i+2): the last group at stride 4, 8, 16 and 32.
        strides: stride of each tap, in input pixels.
    """

    stem: int
    groups: tuple[tuple[Bottleneck, ...], ...]
    last: int
    taps: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of C2..C5.

        >>> ghostnet(1.1).channels
        (28, 44, 124, 176)
        """
        return tuple(self.groups[tap][-1].out for tap in self.taps)


def ghostnet(width: float = 1.0, rounding: str = 'torch') -> Architecture:
    """Return GhostNet's architecture, with every channel count multiplied by `width` and rounded.

    Args:
        rounding: a key of `ROUNDINGS`.

    Raises:
        ValueError: a layer would have no channels.
    """
    return _architecture(BOTTLENECKS, width, rounding)


def ghostnetv2(width: float = 1.0) -> Architecture:
    """Return the architecture of GhostNetV2 and V3, with every channel count multiplied by `width` and rounded."""
    return _architecture(LONG_RANGE_BOTTLENECKS, width)


def repghostnet(width: float = 1.0) -> Architecture:
    """Return RepGhostNet's architecture, with every channel count multiplied by `width` and rounded."""
    return _architecture(HALF_BOTTLENECKS, width)


def _architecture(table: Sequence[Bottleneck], width: float, rounding: str = 'torch') -> Architecture:
    scale = ROUNDINGS[rounding]
    rows = [_scaled(row, width, scale) for row in table]
    stem, last = scale(STEM * width), scale(LAST * width)
    if min(stem, last, *(min(row.expanded, row.out) for row in rows)) < 1:
        raise ValueError(f'width={width} with rounding={rounding!r} gives a layer 0 channels: use a larger width, '
                         "or rounding='torch', which gives at least 4")
    groups = tuple(tuple(group) for _, group in groupby(rows, key=lambda row: row.stride))
    strides = list(accumulate((group[0].stride for group in groups), initial=2, func=int.__mul__))[1:]
    ends = {stride: index for index, stride in enumerate(strides) if stride >= 4}
    return Architecture(stem, groups, last, taps=tuple(ends.values()), strides=tuple(ends))


def _scaled(row: Bottleneck, width: float, scale: Callable[[float], int]) -> Bottleneck:
    expanded = scale(row.expanded * width)
    squeeze = torch_rounding(expanded / 4) if row.squeeze else 0
    return replace(row, expanded=expanded, out=scale(row.out * width), squeeze=squeeze)
