"""The other light backbones, without the layers after their last output."""
from typing import Any

from mmdet.models.backbones import MobileNetV2
from mmdet.registry import MODELS
from mmpretrain.models.backbones import MobileNetV3, ShuffleNetV2


class _Truncated:
    """Remove the layers of a backbone after the last of `out_indices`.

    These layers would run for nothing. They would also get no gradient, and distributed training then fails.
    The backbone must list the names of its layers in `layers`.
    """

    layers: list[str]
    out_indices: tuple[int, ...]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        last = max(self.out_indices)
        for name in self.layers[last + 1:]:
            delattr(self, name)
        self.layers = self.layers[:last + 1]


@MODELS.register_module()
class TruncatedMobileNetV2(_Truncated, MobileNetV2):
    """mmdet's MobileNetV2 up to its last output.

    With `out_indices=(1, 2, 4, 6)`, the outputs are C2..C5: the last blocks at strides 4, 8, 16, 32.
    """


@MODELS.register_module()
class TruncatedMobileNetV3(_Truncated, MobileNetV3):
    """mmpretrain's MobileNetV3 up to its last output.

    With `arch='large', out_indices=(3, 6, 12, 15)`, the outputs are C2..C5: the last blocks at strides 4, 8, 16, 32.
    """


@MODELS.register_module()
class TruncatedShuffleNetV2(ShuffleNetV2):
    """mmpretrain's ShuffleNetV2 up to its last output.

    With `out_indices=(0, 1, 2)`, the outputs are C3..C5, at strides 8, 16, 32, with 116, 232, 464 channels at width
    1.0.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        del self.layers[max(self.out_indices) + 1:]
