# NanoDet-Plus with GhostNet 1.0x at 416 pixels. Not run here.
_base_ = './_base_/nanodet-plus_416_coco.py'

model = dict(
    backbone=dict(
        type='GhostNet', out_indices=(1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://ghostnet_1.0x')),
    neck=dict(in_channels=[40, 112, 160]))
