# RetinaNet with GhostNet 1.1x for 100 to 10,000 images of your own, from published weights or from scratch.
# The neck and head have 64 channels and norms, so that it trains on two cores and from scratch.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', './_base_/finetune.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='GhostNet',
        width=1.1,
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://ghostnet_1.0x?widen')),
    neck=dict(in_channels=[28, 44, 124, 176], out_channels=64, norm_cfg=dict(type='BN')),
    bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=2, norm_cfg=dict(type='GN', num_groups=8)))
train_cfg = dict(max_epochs=20, val_interval=5)
schedule = dict(epochs=20)
