# RetinaNet with RepGhostNet 1.11x on the recipe of the paper's table 9. Not in the paper. Not run here.
_base_ = './_base_/retinanet_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='RepGhostNet',
        width=1.11,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://repghostnet_1.11x')),
    neck=dict(in_channels=[28, 44, 124, 176]))
