# RetinaNet with MobileNetV2 1.0x on the built-in shapes.
_base_ = './_base_/retinanet_mini.py'
custom_imports = dict(imports=['ghostdet', 'ghostdet.models.backbones.mobilenet'])

model = dict(
    backbone=dict(_delete_=True, type='TruncatedMobileNetV2', out_indices=(1, 2, 4, 6)),
    neck=dict(in_channels=[24, 32, 96, 320]))
