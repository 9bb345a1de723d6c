# NanoDet-Plus-m-1.5x, the published detector with ShuffleNetV2 1.5x, at 416 pixels. Its training was not run here.
_base_ = './_base_/nanodet-plus_416_coco.py'

expected = dict(bbox_mAP=0.341, tolerance=0.005, source='README of RangiLyu/nanodet')
model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395], bgr_to_rgb=False),
    backbone=dict(
        type='TruncatedShuffleNetV2', widen_factor=1.5, out_indices=(0, 1, 2),
        act_cfg=dict(type='LeakyReLU', negative_slope=0.1),
        init_cfg=dict(type='CompletePretrained', checkpoint='ghostdet://shufflenetv2_1.5x')),
    neck=dict(in_channels=[176, 352, 704], out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128),
    aux_head=dict(in_channels=256, feat_channels=256))  # twice those of the neck
