# RetinaNet with GhostNet 1.1x on 128 COCO images at 320 pixels. The neck and head have 64 channels and norms.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', './_base_/coco128.py']

model = dict(
    backbone=dict(_delete_=True, type='GhostNet', width=1.1),
    neck=dict(in_channels=[28, 44, 124, 176], out_channels=64, norm_cfg=dict(type='BN')),
    bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=2, norm_cfg=dict(type='GN', num_groups=8)))
