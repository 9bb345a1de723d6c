# Faster R-CNN with MobileNetV2 1.0x: 27.5 AP in the paper, arXiv 1911.11907, table 9. Not run here.
_base_ = './_base_/faster-rcnn_coco.py'
custom_imports = dict(imports=['ghostdet', 'ghostdet.models.backbones.mobilenet'])

model = dict(
    backbone=dict(
        _delete_=True,
        type='TruncatedMobileNetV2',
        out_indices=(1, 2, 4, 6),
        norm_eval=True,
        init_cfg=dict(type='CompletePretrained', checkpoint='ghostdet://mobilenetv2_1.0x')),
    neck=dict(in_channels=[24, 32, 96, 320]))
expected = dict(bbox_mAP=0.275, tolerance=0.005, source='arXiv 1911.11907, table 9')
