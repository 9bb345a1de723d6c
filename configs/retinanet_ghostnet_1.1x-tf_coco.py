# Channel counts as in the authors' TensorFlow code (C2 has 24). The authors say that this code
# is decisive. Not run here.
_base_ = './retinanet_ghostnet_1.1x_coco.py'

model = dict(backbone=dict(rounding='tensorflow'), neck=dict(in_channels=[24, 44, 124, 176]))
