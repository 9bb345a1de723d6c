# YOLOv3 with GhostNet 1.1x at 416 pixels. Not run here.
_base_ = './_base_/yolov3_coco.py'

model = dict(
    backbone=dict(
        _delete_=True, type='GhostNet', width=1.1, out_indices=(1, 2, 3),  # C3, C4, C5
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://ghostnet_1.0x?widen')),
    neck=dict(in_channels=[176, 124, 44]))  # this neck wants the coarsest level first
