# RetinaNet with Ghost-ResNet-50, s = 2: mmdet's ResNet-50 with Ghost convolutions, also in the stem. Not run here.
_base_ = './_base_/retinanet_coco.py'

model = dict(
    backbone=dict(
        conv_cfg=dict(type='GhostConv', ratio=2, dw_size=3),
        # There are no published ImageNet weights. The whole backbone learns from scratch: mmdet's initialisation,
        # nothing frozen, batch norm statistics updated. This takes more than 12 epochs. With your own weights, set
        # init_cfg=dict(type='Pretrained', checkpoint=FILE) and norm_eval=True, as in the other configs.
        init_cfg=None,
        frozen_stages=-1,
        norm_eval=False))
