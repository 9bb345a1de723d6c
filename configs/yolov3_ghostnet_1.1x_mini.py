# YOLOv3 with GhostNet 1.1x on the built-in shapes.
_base_ = './_base_/yolov3_mini.py'

model = dict(
    backbone=dict(type='GhostNet', width=1.1, out_indices=(1, 2, 3)),  # C3, C4, C5
    neck=dict(in_channels=[176, 124, 44]))  # this neck wants the coarsest level first
