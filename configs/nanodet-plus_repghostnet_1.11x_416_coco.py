# NanoDet-Plus with RepGhostNet 1.11x at 416 pixels. Not run here.
_base_ = './_base_/nanodet-plus_416_coco.py'

model = dict(
    backbone=dict(
        type='RepGhostNet', width=1.11, out_indices=(1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://repghostnet_1.11x')),
    neck=dict(in_channels=[44, 124, 176]))
