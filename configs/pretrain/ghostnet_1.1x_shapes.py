# The classifier on generated images with one shape each; trains on two cores in minutes.
_base_ = './ghostnet_1.1x_imagenet.py'

shapes_folder = dict(train=1500, val=300, size=64, seed=1)  # generated into data_root if missing
data_root = 'data/shapes_folder/'
model = dict(head=dict(num_classes=3))
data_preprocessor = dict(num_classes=3)
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(batch_size=50, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(batch_size=50, num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
val_evaluator = dict(topk=(1,))
train_cfg = dict(max_epochs=8)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', by_epoch=True, eta_min_ratio=0.01, convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=0.02))
auto_scale_lr = dict(enable=False)
default_hooks = dict(logger=dict(interval=10))
