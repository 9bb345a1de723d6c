# RetinaNet with GhostNet 1.1x, arXiv 1911.11907, table 9, where it reaches 26.6 AP. Not run here.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', './_base_/coco_1x.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='GhostNet',
        width=1.1,
        # Fixed statistics do not depend on how many images a GPU holds. They come with the ImageNet weights.
        norm_eval=True,
        # Nobody has published 1.1x weights: the authors' 1.0x, widened without a change of function (docs/weights.md).
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://ghostnet_1.0x?widen')),
    neck=dict(in_channels=[28, 44, 124, 176]))
optim_wrapper = dict(optimizer=dict(lr=0.01))
