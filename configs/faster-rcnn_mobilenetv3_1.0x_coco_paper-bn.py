# With the statistics of batch norm updated on every GPU's own images, the likely reading of the paper. Not run here.
_base_ = './faster-rcnn_mobilenetv3_1.0x_coco.py'

model = dict(backbone=dict(norm_eval=False))
