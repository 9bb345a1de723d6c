# The schedule of the small configs, which train from scratch on two cores in minutes.
_base_ = './coco_1x.py'

# Batch norm statistics must be learned from scratch. AdamW with one long cosine is the fastest way.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=80),
    dict(type='CosineAnnealingLR', by_epoch=True, eta_min_ratio=0.01, convert_to_iter_based=True),  # over all epochs
]
train_dataloader = dict(batch_size=16, num_workers=1)
val_dataloader = dict(batch_size=16, num_workers=1)
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=10))
