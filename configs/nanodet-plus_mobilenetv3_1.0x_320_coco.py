# NanoDet-Plus with MobileNetV3-Large 1.0x at 320 pixels. Not run here.
_base_ = './_base_/nanodet-plus_320_coco.py'

model = dict(
    backbone=dict(
        type='TruncatedMobileNetV3', arch='large', out_indices=(6, 12, 15),
        init_cfg=dict(type='CompletePretrained', checkpoint='ghostdet://mobilenetv3_1.0x')),
    neck=dict(in_channels=[40, 112, 160]))
