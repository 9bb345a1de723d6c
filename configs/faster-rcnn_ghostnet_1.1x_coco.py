# Faster R-CNN with GhostNet 1.1x: 26.9 AP in the paper, arXiv 1911.11907, table 9. Not run here.
_base_ = './_base_/faster-rcnn_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='GhostNet',
        width=1.1,
        norm_eval=True,
        # There are no published 1.1x weights. These are the authors' 1.0x weights, widened to compute the same function
        # (docs/how-to/weights.md).
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://ghostnet_1.0x?widen')),
    neck=dict(in_channels=[28, 44, 124, 176]))
expected = dict(bbox_mAP=0.269, tolerance=0.005, source='arXiv 1911.11907, table 9')
