# NanoDet-Plus with RepGhostNet 1.11x on the built-in shapes.
_base_ = './_base_/nanodet-plus_mini.py'

model = dict(
    backbone=dict(
        type='RepGhostNet', width=1.11, out_indices=(1, 2, 3)),
    neck=dict(in_channels=[44, 124, 176]))
