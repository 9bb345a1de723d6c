# RTMDet-tiny for 10 to 10,000 images of your own, from the weights that its authors trained on COCO. Not measured.
_base_ = './rtmdet_tiny_coco.py'

load_from = 'ghostdet://rtmdet_tiny'
norm_cfg = dict(type='BN')  # on one GPU or a CPU
model = dict(backbone=dict(norm_cfg=norm_cfg), neck=dict(norm_cfg=norm_cfg), bbox_head=dict(norm_cfg=norm_cfg))
# The pipeline of its last 20 epochs of 300, which has no mosaic.
train_dataloader = dict(batch_size=4, num_workers=2, dataset=dict(pipeline={{_base_.train_pipeline_stage2}}))
val_dataloader = test_dataloader = dict(batch_size=4, num_workers=2)
# As in _base_/finetune.py.
train_cfg = dict(max_epochs=12, val_interval=3, dynamic_intervals=None)
schedule = dict(epochs=12, images=1000, steps=480)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
auto_scale_lr = dict(base_batch_size=16)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=80),
    dict(type='CosineAnnealingLR', by_epoch=True, eta_min_ratio=0.01, convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=10))
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.002, gamma=100, update_buffers=True, priority=49)]
