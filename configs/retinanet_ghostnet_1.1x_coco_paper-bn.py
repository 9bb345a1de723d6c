# Batch norm statistics are updated on each GPU's own images. The paper probably trained this way. Not run here.
_base_ = './retinanet_ghostnet_1.1x_coco.py'

model = dict(backbone=dict(norm_eval=False))
