# Faster R-CNN as in the paper's table 9. A leaf config sets the backbone and its channels.
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', './coco_1x.py']

optim_wrapper = dict(optimizer=dict(lr=0.02))
