# RTMDet-tiny with GhostNet 1.1x. Not run here.
_base_ = './_base_/rtmdet_coco.py'

model = dict(
    backbone=dict(
        _delete_=True, type='GhostNet', width=1.1, out_indices=(1, 2, 3),  # C3, C4, C5
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://ghostnet_1.0x?widen')),
    neck=dict(in_channels=[44, 124, 176]))
