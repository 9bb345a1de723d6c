# Faster R-CNN with MobileNetV3-Large 1.0x on the built-in shapes.
_base_ = './_base_/faster-rcnn_mini.py'
custom_imports = dict(imports=['ghostdet', 'ghostdet.models.mobilenet'])

model = dict(
    backbone=dict(_delete_=True, type='TruncatedMobileNetV3', arch='large', out_indices=(3, 6, 12, 15)),
    neck=dict(in_channels=[24, 40, 112, 160]))
