# RetinaNet with MobileNetV3-Large 1.0x on the built-in shapes.
_base_ = './_base_/retinanet_mini.py'
custom_imports = dict(imports=['ghostdet', 'ghostdet.models.backbones.mobilenet'])

model = dict(
    backbone=dict(
        _delete_=True, type='TruncatedMobileNetV3', arch='large', out_indices=(3, 6, 12, 15),
        # MobileNetV3's default momentum, 0.01, updates the statistics too slowly for a few minutes from scratch.
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1)),
    neck=dict(in_channels=[24, 40, 112, 160]))
