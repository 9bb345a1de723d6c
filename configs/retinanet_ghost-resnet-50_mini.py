# RetinaNet with Ghost-ResNet-50 on the built-in shapes.
_base_ = './_base_/retinanet_mini.py'

model = dict(
    backbone=dict(conv_cfg=dict(type='GhostConv', ratio=2, dw_size=3), init_cfg=None, frozen_stages=-1,
                  norm_eval=False))
