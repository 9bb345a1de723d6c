# Faster R-CNN with GhostNet 1.3x and its published ImageNet weights. Not in the paper. Not run here.
_base_ = './faster-rcnn_ghostnet_1.1x_coco.py'

model = dict(
    backbone=dict(width=1.3, init_cfg=dict(checkpoint='ghostdet://ghostnet_1.3x_paddle')),
    neck=dict(in_channels=[32, 52, 144, 208]))
expected = None
