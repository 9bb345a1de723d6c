# RetinaNet with GhostNet 1.1x on the built-in shapes.
_base_ = './_base_/retinanet_mini.py'

expected = dict(bbox_mAP=0.50, tolerance=0.03, source='measured: 0.511 and 0.490, on two types of processors')
model = dict(
    backbone=dict(_delete_=True, type='GhostNet', width=1.1),
    neck=dict(in_channels=[28, 44, 124, 176]))
