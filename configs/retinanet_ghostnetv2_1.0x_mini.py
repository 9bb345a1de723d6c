# RetinaNet with GhostNetV2 1.0x on the built-in shapes.
_base_ = './_base_/retinanet_mini.py'

model = dict(
    backbone=dict(_delete_=True, type='GhostNetV2', width=1.0),
    neck=dict(in_channels=[24, 40, 112, 160]))
