# YOLOX with GhostNet 1.1x on the built-in shapes.
_base_ = './_base_/yolox_mini.py'

model = dict(
    backbone=dict(type='GhostNet', width=1.1, out_indices=(1, 2, 3)),  # C3, C4, C5
    neck=dict(in_channels=[44, 124, 176]))
