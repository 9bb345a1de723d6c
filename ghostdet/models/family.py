"""What the backbones of GhostNet's family share: they differ in their blocks."""
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ghostdet.models import arch
from ghostdet.models.blocks import LastConv, conv_norm

LAST_CONV = 4  # position in `out_indices` of the 1x1 convolution after C5
FROM_FILE = ('Pretrained', 'PretrainedInit', 'CompletePretrained')  # initializers that read a file
DEFAULT_INIT = (
    # fan_in, because fan_out counts all channels: a depthwise convolution would get almost zero weights.
    dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)


class GhostFamily(BaseModule):
    """A backbone with multi-scale outputs: a stem, groups of blocks, a last 1x1 convolution. Keys match timm's.

    (N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i].
    A network of the family gives its architecture and its block: `_architecture` and `_block`.

    Args:
        width: multiplier of all channel counts.
        out_indices: which features to return, in increasing order: 0..3 are C2..C5, the last block at strides 4, 8, 16,
            32; 4 is the 1x1 convolution after C5. What comes after the last of them is not built.
        frozen_stages: what to freeze. -1: nothing; 0: the stem; k: the stem and all blocks up to C(k+1). Frozen layers
            get no gradient and keep their batch norm statistics.
        norm_cfg: norm layers, as everywhere in MMDetection.
        norm_eval: keep the statistics of batch norm fixed in training; its weight and bias still train.
        init_cfg: initial weights; Kaiming by default.

    Attributes:
        out_channels: channels of each output.
        out_strides: input pixels per output pixel, for each output.

    Raises:
        TypeError: an argument does not exist.
        ValueError: an argument is invalid; the message gives its name, its value and what is allowed.
    """

    init_cfg: Any
    padding = 'torch'  # of strided convolutions; GhostNet has others

    def __init__(self, width: float = 1.0, out_indices: Sequence[int] = (0, 1, 2, 3), frozen_stages: int = -1,
                 norm_cfg: dict = dict(type='BN'), norm_eval: bool = False,  # noqa: B006  (never changed)
                 init_cfg: dict | list | None = None) -> None:
        check_arguments(self, {name: value for name, value in locals().items() if name in CHECKS}, CHECKS)
        super().__init__([dict(entry) for entry in DEFAULT_INIT] if init_cfg is None else init_cfg)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.arch = self._architecture(width)
        taps = [*self.arch.taps, len(self.arch.groups)]
        self.taps = tuple(taps[index] for index in out_indices)
        self.out_channels = tuple([*self.arch.channels, self.arch.last][index] for index in out_indices)
        self.out_strides = tuple([*self.arch.strides, self.arch.strides[-1]][index] for index in out_indices)

        self.conv_stem, self.bn1 = conv_norm(3, self.arch.stem, 3, norm_cfg, stride=2, padding=self.padding)
        self.blocks = nn.ModuleList(self._build_groups(norm_cfg))
        self._freeze()

    def _architecture(self, width: float) -> arch.Architecture:
        raise NotImplementedError

    def _block(self, in_channels: int, row: arch.Bottleneck, norm_cfg: dict) -> nn.Module:
        """Return a block, (N, in_channels, H, W) -> (N, row.out, ceil(H/s), ceil(W/s)), s = row.stride."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """Set the initial weights, then load a weights file safely: all its tensors must fit, or none is loaded."""
        entries = [self.init_cfg] if isinstance(self.init_cfg, dict) else list(self.init_cfg or ())
        self.init_cfg = sorted(map(_read_safely, entries), key=reads_file)  # the file last
        super().init_weights()

    def _build_groups(self, norm_cfg: dict) -> Iterator[nn.Module]:
        """Yield the groups of blocks up to the last output, then the last 1x1 convolution if it is an output."""
        channels = self.arch.stem
        for group in self.arch.groups[:self.taps[-1] + 1]:
            blocks = []
            for row in group:
                blocks.append(self._block(channels, row, norm_cfg))
                channels = row.out
            yield nn.Sequential(*blocks)
        if self.taps[-1] == len(self.arch.groups):
            yield nn.Sequential(LastConv(channels, self.arch.last, norm_cfg))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i]."""
        x = nn.functional.relu(self.bn1(self.conv_stem(x)), inplace=True)  # (N, C, H/2, W/2)
        features = []
        for index, group in enumerate(self.blocks):
            for block in group:
                x = self._run(block, x)
            if index in self.taps:
                features.append(x)
        return tuple(features)

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        return block(x)

    def train(self, mode: bool = True) -> 'GhostFamily':
        """Switch to training or evaluation mode; frozen layers stay in evaluation mode. Return self."""
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        self._freeze()
        return self

    def _freeze(self) -> None:
        """Freeze the stem and the blocks up to C(frozen_stages + 1): no gradients, fixed batch norm statistics."""
        if self.frozen_stages < 0:
            return
        groups = self.arch.taps[self.frozen_stages - 1] + 1 if self.frozen_stages else 0
        for module in (self.conv_stem, self.bn1, *self.blocks[:groups]):
            module.eval()
            module.requires_grad_(False)


def reads_file(entry: dict) -> bool:
    """Return whether an entry of an `init_cfg` reads a file, whatever form its type has.

    >>> reads_file(dict(type='mmengine.Pretrained', checkpoint='a.pth')), reads_file(dict(type='Kaiming'))
    (True, False)
    """
    kind = entry.get('type')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return name.rpartition('.')[2] in FROM_FILE


def _read_safely(entry: dict) -> dict:
    """Return an entry of an `init_cfg` that reads files safely, in its overrides for single layers too."""
    override = entry.get('override')
    if override:
        several = isinstance(override, (list, tuple))
        entry = {**entry, 'override': [_read_safely(one) for one in override] if several else _read_safely(override)}
    return {**entry, 'type': 'CompletePretrained'} if reads_file(entry) else entry


# --------------------------------------------------------------------------------------------------- checking arguments

Check = tuple[Callable[[Any], bool], str]  # is a value allowed, and what is


def is_int(value: Any) -> bool:
    """Return whether a value is an integer; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_increasing(value: Any) -> bool:
    return (isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
            and all(is_int(index) and 0 <= index <= LAST_CONV for index in value)
            and all(a < b for a, b in pairwise(value)))


CHECKS: dict[str, Check] = dict(
    width=(lambda v: isinstance(v, (int, float)) and v is not True and math.isfinite(v) and v > 0, 'a number above 0'),
    out_indices=(_is_increasing, f'increasing positions from 0 (C2) to 3 (C5) and {LAST_CONV} (the 1x1 convolution)'),
    frozen_stages=(lambda v: is_int(v) and -1 <= v <= 4, 'an integer from -1 (nothing) to 4 (all up to C5)'),
    norm_cfg=(lambda v: isinstance(v, dict) and 'type' in v, "a dict with a 'type', e.g. dict(type='BN')"),
    norm_eval=(lambda v: isinstance(v, bool), 'True or False'),
    init_cfg=(lambda v: v is None or isinstance(v, (dict, list, tuple)), 'None, a dict or a list of dicts'),
)


def check_arguments(network: nn.Module, arguments: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    """Check the arguments of a network's constructor.

    Raises:
        ValueError: an argument is not allowed; the message names the network, the argument, its value and what is
            allowed.
    """
    for name, value in arguments.items():
        is_allowed, allowed = checks[name]
        if not is_allowed(value):
            raise ValueError(f'{type(network).__name__}: {name}={value!r} is not allowed; it must be {allowed}')
