# NanoDet-Plus with MobileNetV3-Large 1.0x on the built-in shapes.
_base_ = './_base_/nanodet-plus_mini.py'

model = dict(
    backbone=dict(
        type='TruncatedMobileNetV3', arch='large', out_indices=(6, 12, 15)),
    neck=dict(in_channels=[40, 112, 160]))
