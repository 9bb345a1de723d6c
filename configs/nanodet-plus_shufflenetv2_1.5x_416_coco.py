# NanoDet-Plus-m-1.5x, the published detector with ShuffleNetV2 1.5x, at 416 pixels. Its training was not run here.
_base_ = './nanodet-plus_shufflenetv2_1.0x_416_coco.py'

expected = dict(bbox_mAP=0.341, tolerance=0.005, source='README of RangiLyu/nanodet')
model = dict(
    backbone=dict(widen_factor=1.5, init_cfg=dict(checkpoint='ghostdet://shufflenetv2_1.5x')),
    neck=dict(in_channels=[176, 352, 704], out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128),
    aux_head=dict(in_channels=256, feat_channels=256))  # twice those of the neck
