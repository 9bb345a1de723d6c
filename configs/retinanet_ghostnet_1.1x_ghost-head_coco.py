# RetinaNet with GhostNet 1.1x, whose FPN and head towers are Ghost, too: 37% of the work less. Not run here.
_base_ = './retinanet_ghostnet_1.1x_coco.py'

ghost_conv = dict(type='GhostConv', ratio=2, dw_size=3)
model = dict(neck=dict(conv_cfg=ghost_conv), bbox_head=dict(conv_cfg=ghost_conv))
expected = None  # the paper's AP is that of plain convolutions
