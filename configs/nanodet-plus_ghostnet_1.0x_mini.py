# NanoDet-Plus with GhostNet 1.0x on the built-in shapes.
_base_ = './_base_/nanodet-plus_mini.py'

model = dict(
    backbone=dict(
        type='GhostNet', out_indices=(1, 2, 3)),
    neck=dict(in_channels=[40, 112, 160]))
