# RetinaNet on the built-in shapes: the same detector, small enough to train on two cores in minutes.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', './mini.py']

model = dict(
    # A neck and head with norms learn several times faster from scratch.
    neck=dict(out_channels=64, num_outs=3, norm_cfg=dict(type='BN')),
    bbox_head=dict(
        num_classes=3, in_channels=64, feat_channels=64, stacked_convs=2, norm_cfg=dict(type='GN', num_groups=8),
        # The shapes are roughly square with sides of 18 to 115 pixels: three levels, and anchors from 24 pixels on.
        anchor_generator=dict(octave_base_scale=3, ratios=[1.0], strides=[8, 16, 32])))
