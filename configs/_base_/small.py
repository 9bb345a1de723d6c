# What two cores learn in minutes, from scratch: the schedule of the small configs.
_base_ = './coco_1x.py'

# From scratch the statistics of batch norm have to be learned; AdamW with one long cosine gets there soonest.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=80),
    dict(type='CosineAnnealingLR', by_epoch=True, eta_min_ratio=0.01, convert_to_iter_based=True),  # over all epochs
]
train_dataloader = dict(batch_size=16, num_workers=1)
val_dataloader = dict(batch_size=16, num_workers=1)
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=10))
