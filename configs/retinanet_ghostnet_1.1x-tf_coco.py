# With the channels of the authors' TensorFlow code, of which they say that it prevails: C2 has 24. Not run here.
_base_ = './retinanet_ghostnet_1.1x_coco.py'

model = dict(backbone=dict(rounding='tensorflow'), neck=dict(in_channels=[24, 44, 124, 176]))
