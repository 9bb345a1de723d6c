# Faster R-CNN with MobileNetV3-Large 1.0x: 26.9 AP in the paper, arXiv 1911.11907, table 9. Not run here.
_base_ = './_base_/faster-rcnn_coco.py'
custom_imports = dict(imports=['ghostdet', 'ghostdet.models.backbones.mobilenet'])

model = dict(
    backbone=dict(
        _delete_=True,
        type='TruncatedMobileNetV3',
        arch='large',
        out_indices=(3, 6, 12, 15),
        norm_eval=True,
        init_cfg=dict(type='CompletePretrained', checkpoint='ghostdet://mobilenetv3_1.0x')),
    neck=dict(in_channels=[24, 40, 112, 160]))
expected = dict(bbox_mAP=0.269, tolerance=0.005, source='arXiv 1911.11907, table 9')
