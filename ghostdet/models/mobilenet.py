"""The backbones that GhostNet is compared with: those of MMDetection and mmpretrain, without the layers after their last tap."""
from typing import Any

from mmdet.models.backbones import MobileNetV2
from mmdet.registry import MODELS
from mmpretrain.models.backbones import MobileNetV3


class _Truncated:
    """For a backbone that keeps the names of its layers in `layers`: those after the last of `out_indices` are gone.

    They would run for nothing and get no gradient, which distributed training refuses.
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
    """mmdet's MobileNetV2; at `out_indices=(1, 2, 4, 6)` C2..C5 are the last blocks at strides 4, 8, 16, 32."""


@MODELS.register_module()
class TruncatedMobileNetV3(_Truncated, MobileNetV3):
    """mmpretrain's MobileNetV3; of 'large', `out_indices=(3, 6, 12, 15)` are C2..C5, the last blocks at strides 4 to 32."""
