# RetinaNet with Ghost-ResNet-50, s = 2: mmdet's ResNet-50 with Ghost convolutions, its stem included. Not run here.
_base_ = './_base_/retinanet_coco.py'

model = dict(
    backbone=dict(
        conv_cfg=dict(type='GhostConv', ratio=2, dw_size=3),
        # Nobody has published its ImageNet weights. Without them all of it has to learn, which takes more than 12 epochs: mmdet's
        # own initialisation, nothing frozen, statistics updated. With weights of your own, init_cfg=dict(type='Pretrained',
        # checkpoint=FILE), set norm_eval=True as the other configs do.
        init_cfg=None,
        frozen_stages=-1,
        norm_eval=False))
