"""The GhostNet backbone, registered with MMDetection as `GhostNet`."""
from collections.abc import Sequence
from functools import partial

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from ghostdet.models import arch
from ghostdet.models.blocks import GhostBottleneck, GhostModule
from ghostdet.models.family import Check, GhostFamily, check_arguments, is_int
from ghostdet.models.recompute import run_sparingly

OWN_CHECKS: dict[str, Check] = dict(
    rounding=(lambda v: v in tuple(arch.ROUNDINGS), f'one of {sorted(arch.ROUNDINGS)}'),
    ratio=(lambda v: is_int(v) and v >= 1, 'an integer of at least 1'),
    dw_size=(lambda v: is_int(v) and v >= 1 and v % 2 == 1, 'an odd integer of at least 1'),
    with_cp=(lambda v: isinstance(v, bool) or v == 'cheap', "True, False or 'cheap'"),
    shortcut_relu=(lambda v: isinstance(v, bool), 'True or False'),
    padding=(lambda v: v in ('torch', 'tensorflow'), "'torch' or 'tensorflow'"),
)


@MODELS.register_module()
class GhostNet(GhostFamily):
    """The GhostNet backbone with multi-scale outputs. State-dict keys match the published weights.

    (N, 3, H, W) -> a tuple of (N, out_channels[i], ceil(H/s), ceil(W/s)), s = out_strides[i].
    Source: arXiv 1911.11907. C2..C5 are the last bottleneck of each stride, as in the authors' detectors.

    Args:
        width: multiplier of all channel counts.
        rounding: how to round the multiplied counts: 'torch' or 'tensorflow', as in the authors' two codes. They differ
            at 1.1.
        ratio: output maps per primary map, the paper's s.
        dw_size: kernel size of the cheap operation, the paper's d; odd.
        out_indices: which features to return, in increasing order: 0..3 are C2..C5, 4 is the 1x1 convolution after C5.
        frozen_stages: what to freeze. -1: nothing; 0: the stem; k: the stem and all bottlenecks up to C(k+1). Frozen
            layers get no gradient and keep their batch norm statistics.
        norm_cfg: norm layers, as everywhere in MMDetection.
        norm_eval: keep the statistics of batch norm fixed in training; its weight and bias still train.
        shortcut_relu: add a ReLU after the shortcuts' depthwise convolutions. The authors' network has none; d-li14's
            network and weights have it.
        padding: of the strided convolutions. 'torch': equal at all sides. 'tensorflow': as TensorFlow's SAME, which on
            even sides pads one row or column fewer at the top and left; weights from TensorFlow need it.
        with_cp: recompute tensors in the backward pass, to save memory at the cost of time. 'cheap': recompute norms,
            activations and attention after depthwise convolutions. True: recompute all but the outputs of 1x1
            convolutions.
        init_cfg: initial weights; Kaiming by default.

    Attributes:
        out_channels: channels of each output.
        out_strides: input pixels per output pixel, for each output.

    Raises:
        TypeError: an argument does not exist.
        ValueError: an argument is invalid; the message gives its name, its value and what is allowed.

    Examples:
        >>> import torch
        >>> model = GhostNet(width=1.1)
        >>> [tuple(feature.shape) for feature in model(torch.rand(1, 3, 64, 96))]
        [(1, 28, 16, 24), (1, 44, 8, 12), (1, 124, 4, 6), (1, 176, 2, 3)]
    """

    def __init__(self, width: float = 1.0, rounding: str = 'torch', ratio: int = 2, dw_size: int = 3,
                 out_indices: Sequence[int] = (0, 1, 2, 3), frozen_stages: int = -1,
                 norm_cfg: dict = dict(type='BN'),  # noqa: B006  (never changed)
                 norm_eval: bool = False, with_cp: bool | str = False, shortcut_relu: bool = False,
                 padding: str = 'torch', init_cfg: dict | list | None = None) -> None:
        check_arguments(self, {name: value for name, value in locals().items() if name in OWN_CHECKS}, OWN_CHECKS)
        # First, because the family's constructor builds the blocks, which need them.
        self.rounding, self.ratio, self.dw_size = rounding, ratio, dw_size
        self.shortcut_relu, self.padding = shortcut_relu, padding
        super().__init__(width, out_indices, frozen_stages, norm_cfg, norm_eval, init_cfg)
        self.with_cp = with_cp

    def _architecture(self, width: float) -> arch.Architecture:
        return arch.ghostnet(width, self.rounding)

    def _block(self, in_channels: int, row: arch.Bottleneck, norm_cfg: dict) -> nn.Module:
        ghost = partial(GhostModule, ratio=self.ratio, dw_size=self.dw_size, norm_cfg=norm_cfg)
        return GhostBottleneck(in_channels, row, ghost, partial(ghost, relu=False), norm_cfg, self.shortcut_relu,
                               self.padding)

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        if not self.with_cp or not torch.is_grad_enabled() or not isinstance(block, GhostBottleneck):
            return block(x)
        return run_sparingly(block, x, keep=self.with_cp == 'cheap')
