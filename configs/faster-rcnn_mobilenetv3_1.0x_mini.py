# Faster R-CNN with MobileNetV3-Large 1.0x on the built-in shapes.
_base_ = './_base_/faster-rcnn_mini.py'
custom_imports = dict(imports=['ghostdet', 'ghostdet.models.mobilenet'])

model = dict(
    backbone=dict(
        _delete_=True, type='TruncatedMobileNetV3', arch='large', out_indices=(3, 6, 12, 15),
        # Its own momentum, 0.01, follows the weights of a run from scratch too slowly to be evaluated after minutes.
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1)),
    neck=dict(in_channels=[24, 40, 112, 160]))
