# RetinaNet with GhostNet 1.1x on the built-in shapes: the same detector with a narrow neck and head.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', './_base_/mini.py']

model = dict(
    backbone=dict(_delete_=True, type='GhostNet', width=1.1),
    neck=dict(in_channels=[28, 44, 124, 176], out_channels=64, num_outs=3),
    bbox_head=dict(
        num_classes=3, in_channels=64, feat_channels=64, stacked_convs=2,
        # Three levels, and anchors from 24 pixels on: the shapes have sides of 18 to 130.
        anchor_generator=dict(octave_base_scale=3, strides=[8, 16, 32])))
