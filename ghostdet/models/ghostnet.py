"""The GhostNet backbone, registered with MMDetection as `GhostNet`."""
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ghostdet.models import arch
from ghostdet.models.blocks import GhostBottleneck, conv_norm
from ghostdet.models.recompute import run_sparingly

LAST_CONV = 4  # position in `out_indices` of the 1x1 convolution after C5
FROM_FILE = ('Pretrained', 'PretrainedInit', 'CompletePretrained')  # initializers that read a file
DEFAULT_INIT = (
    # fan_in, because fan_out counts all channels: a depthwise convolution would get almost zero weights.
    dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)


@MODELS.register_module()
class GhostNet(BaseModule):
    """The GhostNet backbone with multi-scale outputs. State-dict keys match the published weights.

    (N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i].
    Source: arXiv 1911.11907. C2..C5 are the last bottleneck of each stride, as in the authors' detectors.

    Args:
        width: multiplier of all channel counts.
        rounding: how to round the multiplied counts: 'torch' or 'tensorflow', as in the authors' two codes. They differ at 1.1.
        ratio: output maps per primary map, the paper's s.
        dw_size: kernel size of the cheap operation, the paper's d; odd.
        out_indices: which features to return, in increasing order: 0..3 are C2..C5, 4 is the 1x1 convolution after C5.
        frozen_stages: what to freeze. -1: nothing; 0: the stem; k: the stem and all bottlenecks up to C(k+1). Frozen layers get
            no gradient and keep their batch norm statistics.
        norm_cfg: norm layers, as everywhere in MMDetection.
        norm_eval: keep the statistics of batch norm fixed in training; its weight and bias still train.
        shortcut_relu: add a ReLU after the shortcuts' depthwise convolutions. The authors' network has none; d-li14's network
            and weights have it.
        padding: of the strided convolutions. 'torch': equal at all sides. 'tensorflow': as TensorFlow's SAME, which on even
            sides pads one row or column fewer at the top and left; weights from TensorFlow need it.
        with_cp: recompute tensors in the backward pass, to save memory at the cost of time. 'cheap': recompute norms,
            activations and attention after depthwise convolutions. True: recompute all but the outputs of 1x1 convolutions.
        init_cfg: initial weights; Kaiming by default.

    Attributes:
        out_channels: channels of each output.
        out_strides: input pixels per output pixel, for each output.

    Raises:
        TypeError: an argument does not exist.
        ValueError: an argument is invalid; the message gives its name, its value and what is allowed.

    Example:
        >>> import torch
        >>> model = GhostNet(width=1.1)
        >>> [tuple(feature.shape) for feature in model(torch.rand(1, 3, 64, 96))]
        [(1, 28, 16, 24), (1, 44, 8, 12), (1, 124, 4, 6), (1, 176, 2, 3)]
    """

    init_cfg: Any

    def __init__(self, width: float = 1.0, rounding: str = 'torch', ratio: int = 2, dw_size: int = 3,
                 out_indices: Sequence[int] = (0, 1, 2, 3), frozen_stages: int = -1, norm_cfg: dict = dict(type='BN'),  # noqa: B006  (never changed)
                 norm_eval: bool = False, with_cp: bool | str = False, shortcut_relu: bool = False,
                 padding: str = 'torch', init_cfg: dict | list | None = None) -> None:
        _check_arguments({name: value for name, value in locals().items() if name in CHECKS})
        super().__init__([dict(entry) for entry in DEFAULT_INIT] if init_cfg is None else init_cfg)
        self.frozen_stages, self.norm_eval, self.with_cp = frozen_stages, norm_eval, with_cp
        self.shortcut_relu, self.padding = shortcut_relu, padding
        self.arch = arch.ghostnet(width, rounding)
        taps = [*self.arch.taps, len(self.arch.groups)]
        self.taps = tuple(taps[index] for index in out_indices)
        self.out_channels = tuple(self._channels_after(tap) for tap in self.taps)
        self.out_strides = tuple([*self.arch.strides, self.arch.strides[-1]][index] for index in out_indices)

        stem = conv_norm(3, self.arch.stem, 3, norm_cfg, stride=2, padding=padding)
        self.conv_stem, self.bn1 = stem
        self.blocks = nn.ModuleList(self._build_groups(ratio, dw_size, norm_cfg))
        self._freeze()

    def init_weights(self) -> None:
        """Set the initial weights. A weights file is loaded last and read safely: all its tensors must fit, or none is loaded."""
        entries = [self.init_cfg] if isinstance(self.init_cfg, dict) else list(self.init_cfg or ())
        self.init_cfg = sorted(map(_read_safely, entries), key=reads_file)  # the file last
        super().init_weights()

    def _channels_after(self, group: int) -> int:
        return self.arch.last if group == len(self.arch.groups) else self.arch.groups[group][-1].out

    def _build_groups(self, ratio: int, dw_size: int, norm_cfg: dict) -> Iterator[nn.Module]:
        """Yield the groups of bottlenecks up to the last output, then the last 1x1 convolution if it is an output."""
        channels = self.arch.stem
        for group in self.arch.groups[:self.taps[-1] + 1]:
            blocks = []
            for row in group:
                blocks.append(GhostBottleneck(channels, row, ratio, dw_size, norm_cfg, self.shortcut_relu, self.padding))
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
        if not self.with_cp or not torch.is_grad_enabled() or not isinstance(block, GhostBottleneck):
            return block(x)
        return run_sparingly(block, x, keep=self.with_cp == 'cheap')

    def train(self, mode: bool = True) -> 'GhostNet':
        """Switch to training or evaluation mode; frozen layers stay in evaluation mode. Return self."""
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        self._freeze()
        return self

    def _freeze(self) -> None:
        """Freeze the stem and the bottlenecks up to C(frozen_stages + 1): no gradients, fixed batch norm statistics."""
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


class LastConv(nn.Module):
    """The 1x1 convolution after C5, its norm and ReLU. (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.conv, self.bn1 = conv_norm(in_channels, out_channels, 1, norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        return nn.functional.relu(self.bn1(self.conv(x)), inplace=True)


# ---------------------------------------------------------------------------------------------------- checking arguments

def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_increasing(value: Any) -> bool:
    return (isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
            and all(_is_int(index) and 0 <= index <= LAST_CONV for index in value)
            and all(a < b for a, b in pairwise(value)))


CHECKS = dict(
    width=(lambda v: isinstance(v, (int, float)) and v is not True and math.isfinite(v) and v > 0, 'a number above 0'),
    rounding=(lambda v: v in tuple(arch.ROUNDINGS), f'one of {sorted(arch.ROUNDINGS)}'),
    ratio=(lambda v: _is_int(v) and v >= 1, 'an integer of at least 1'),
    dw_size=(lambda v: _is_int(v) and v >= 1 and v % 2 == 1, 'an odd integer of at least 1'),
    out_indices=(_is_increasing, f'increasing positions from 0 (C2) to 3 (C5) and {LAST_CONV} (the 1x1 convolution)'),
    frozen_stages=(lambda v: _is_int(v) and -1 <= v <= 4, 'an integer from -1 (nothing) to 4 (all up to C5)'),
    norm_cfg=(lambda v: isinstance(v, dict) and 'type' in v, "a dict with a 'type', e.g. dict(type='BN')"),
    norm_eval=(lambda v: isinstance(v, bool), 'True or False'),
    with_cp=(lambda v: isinstance(v, bool) or v == 'cheap', "True, False or 'cheap'"),
    shortcut_relu=(lambda v: isinstance(v, bool), 'True or False'),
    padding=(lambda v: v in ('torch', 'tensorflow'), "'torch' or 'tensorflow'"),
    init_cfg=(lambda v: v is None or isinstance(v, (dict, list, tuple)), 'None, a dict or a list of dicts'),
)


def _check_arguments(arguments: dict[str, Any]) -> None:
    for name, value in arguments.items():
        is_allowed, allowed = CHECKS[name]
        if not is_allowed(value):
            raise ValueError(f'GhostNet: {name}={value!r} is not allowed; it must be {allowed}')
