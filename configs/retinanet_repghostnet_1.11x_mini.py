# RetinaNet with RepGhostNet 1.11x on the built-in shapes.
_base_ = './_base_/retinanet_mini.py'

model = dict(
    backbone=dict(_delete_=True, type='RepGhostNet', width=1.11),
    neck=dict(in_channels=[28, 44, 124, 176]))
