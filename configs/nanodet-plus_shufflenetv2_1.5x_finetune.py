# NanoDet-Plus-m-1.5x for 10 to 10,000 images of your own, from the weights that its authors trained on COCO.
_base_ = './nanodet-plus_shufflenetv2_1.0x_finetune.py'

load_from = 'ghostdet://nanodet-plus-m-1.5x_416'
model = dict(
    backbone=dict(widen_factor=1.5, init_cfg=dict(checkpoint='ghostdet://shufflenetv2_1.5x')),
    neck=dict(in_channels=[176, 352, 704], out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128))
