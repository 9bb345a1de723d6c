# Batch norm statistics are updated on each GPU's own images. The paper probably trained this way. Not run here.
_base_ = './faster-rcnn_mobilenetv3_1.0x_coco.py'

model = dict(backbone=dict(norm_eval=False))
