# What the `_mini` twins share: the built-in shapes, small enough that two cores learn them in minutes.
_base_ = './coco_1x.py'

shapes = dict(train=640, val=160, size=192, seed=0)  # generated into data_root where they are not there yet
data_root = 'data/shapes/'
metainfo = dict(classes=('disc', 'square', 'triangle'))

train_pipeline = [
    dict(type='LoadWholeImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(192, 192), keep_ratio=True),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadWholeImage'),
    dict(type='Resize', scale=(192, 192), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=16, num_workers=1,
    dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16, num_workers=1,
    dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

# From scratch the statistics of batch norm have to be learned; AdamW with one warm cycle gets there soonest.
train_cfg = dict(max_epochs=20, val_interval=2)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=80),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20, T_max=20, eta_min_ratio=0.01, convert_to_iter_based=True),
]
default_hooks = dict(logger=dict(interval=10))
