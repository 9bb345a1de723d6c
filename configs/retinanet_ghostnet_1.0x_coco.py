# RetinaNet with GhostNet 1.0x and its published ImageNet weights. Not in the paper. Not run here.
_base_ = './retinanet_ghostnet_1.1x_coco.py'

model = dict(
    backbone=dict(width=1.0, init_cfg=dict(checkpoint='ghostdet://ghostnet_1.0x')),
    neck=dict(in_channels=[24, 40, 112, 160]))
expected = None
