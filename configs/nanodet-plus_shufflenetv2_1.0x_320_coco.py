# NanoDet-Plus-m, the published detector with ShuffleNetV2 1.0x, at 320 pixels. Its training was not run here.
_base_ = './_base_/nanodet-plus_320_coco.py'

expected = dict(bbox_mAP=0.270, tolerance=0.005, source='README of RangiLyu/nanodet')
model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395], bgr_to_rgb=False),
    backbone=dict(
        type='TruncatedShuffleNetV2', out_indices=(0, 1, 2),
        act_cfg=dict(type='LeakyReLU', negative_slope=0.1),
        init_cfg=dict(type='CompletePretrained', checkpoint='ghostdet://shufflenetv2_1.0x')),
    neck=dict(in_channels=[116, 232, 464]))
