"""The other light backbones, without the layers after their last output. mmpretrain is imported when it is needed."""
from functools import cache
from importlib import import_module
from typing import Any

from mmdet.models.backbones import MobileNetV2
from mmdet.registry import MODELS
from torch import nn

from ghostdet.errors import PackageError, reason


class _Truncated:
    """Remove the layers of a backbone after the last of `out_indices`.

    These layers would run for nothing. They would also get no gradient, and distributed training then fails.
    The backbone must list its layers, or their names, in `layers`.
    """

    layers: Any
    out_indices: tuple[int, ...]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        end = max(self.out_indices) + 1
        for name in () if isinstance(self.layers, nn.ModuleList) else self.layers[end:]:
            delattr(self, name)
        self.layers = self.layers[:end]


@MODELS.register_module()
class TruncatedMobileNetV2(_Truncated, MobileNetV2):
    """mmdet's MobileNetV2 up to its last output.

    With `out_indices=(1, 2, 4, 6)`, the outputs are C2..C5: the last blocks at strides 4, 8, 16, 32.
    """


@MODELS.register_module()
def TruncatedMobileNetV3(**options: Any) -> nn.Module:  # noqa: N802  (a config names it like a class)
    """Mmpretrain's MobileNetV3 up to its last output.

    With `arch='large', out_indices=(3, 6, 12, 15)`, the outputs are C2..C5: the last blocks at strides 4, 8, 16, 32.

    Raises:
        PackageError: mmpretrain cannot be imported.
    """
    return _truncated('MobileNetV3')(**options)


@MODELS.register_module()
def TruncatedShuffleNetV2(**options: Any) -> nn.Module:  # noqa: N802
    """Mmpretrain's ShuffleNetV2 up to its last output.

    With `out_indices=(0, 1, 2)`, the outputs are C3..C5, at strides 8, 16, 32, with 116, 232, 464 channels at width
    1.0.

    Raises:
        PackageError: mmpretrain cannot be imported.
    """
    return _truncated('ShuffleNetV2')(**options)


@cache
def _truncated(name: str) -> type[nn.Module]:
    try:
        network = getattr(import_module('mmpretrain.models.backbones'), name)
    except ImportError as error:
        raise PackageError(f'{name} needs mmpretrain, which cannot be imported ({reason(error)}). Run pip install '
                           '"ghostdet[train]", or install the mmpretrain that belongs to your mmdet') from error
    return type(f'Truncated{name}', (_Truncated, network), {})
