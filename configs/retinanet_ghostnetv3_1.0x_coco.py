# RetinaNet with GhostNetV3 1.0x on the recipe of the paper's table 9. Not in the paper. Not run here.
_base_ = './_base_/retinanet_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='GhostNetV3',
        width=1.0,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://ghostnetv3_1.0x')),
    neck=dict(in_channels=[24, 40, 112, 160]))
