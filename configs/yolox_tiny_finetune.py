# YOLOX-tiny for 10 to 10,000 images of your own, from the weights that its authors trained on COCO. Not measured.
_base_ = './yolox_tiny_coco.py'

load_from = 'ghostdet://yolox_tiny'
# The pipeline of its last 15 epochs of 300, which has no mosaic.
train_dataloader = dict(batch_size=4, num_workers=2, dataset=dict(pipeline=[
    dict(type='YOLOXHSVRandomAug'), dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=(640, 640), keep_ratio=True), dict(type='Pad', pad_to_square=True, pad_val=dict(img=114)),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False), dict(type='PackDetInputs')]))
val_dataloader = test_dataloader = dict(batch_size=4, num_workers=2)
# As in _base_/finetune.py.
train_cfg = dict(max_epochs=12, val_interval=3)
schedule = dict(epochs=12, images=1000, steps=480)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=0.02))
auto_scale_lr = dict(base_batch_size=16)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=80),
    dict(type='CosineAnnealingLR', by_epoch=True, eta_min_ratio=0.01, convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=10))
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.002, gamma=100, update_buffers=True, priority=49)]
