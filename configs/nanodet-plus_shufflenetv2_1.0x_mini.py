# NanoDet-Plus with ShuffleNetV2 1.0x on the built-in shapes.
_base_ = './_base_/nanodet-plus_mini.py'

model = dict(
    backbone=dict(
        type='TruncatedShuffleNetV2', out_indices=(0, 1, 2),
        act_cfg=dict(type='LeakyReLU', negative_slope=0.1)),
    neck=dict(in_channels=[116, 232, 464]))
