# Faster R-CNN on the built-in shapes: the same detector, small enough to train on two cores in minutes.
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', './mini.py']

model = dict(
    # A neck with norms learns several times faster from scratch.
    neck=dict(out_channels=64, norm_cfg=dict(type='BN')),
    # The shapes are roughly square with sides of 18 to 115 pixels, so anchors start at 24 pixels.
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[6], ratios=[1.0])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64), bbox_head=dict(num_classes=3, in_channels=64, fc_out_channels=256)),
    # A small image needs fewer proposals.
    train_cfg=dict(rpn_proposal=dict(nms_pre=500, max_per_img=200), rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)))
