# RTMDet-tiny with RepGhostNet 1.11x. Not run here.
_base_ = './_base_/rtmdet_coco.py'

model = dict(
    backbone=dict(
        _delete_=True, type='RepGhostNet', width=1.11, out_indices=(1, 2, 3),  # C3, C4, C5
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://repghostnet_1.11x')),
    neck=dict(in_channels=[44, 124, 176]))
