# The recipe that RetinaNet and Faster R-CNN share: COCO, 800/1333, 12 epochs, SGD. The paper gives only these four
# settings. The others are chosen here; docs/evidence/table9.md gives the evidence. The base config of a detector sets
# the learning rate. A leaf config sets the backbone, its channels and the paper's AP (`expected`). The seed alone
# changes AP by some tenths of a point. Backbones use norm_eval=True: the batch norm statistics stay those of the
# ImageNet weights, so they do not depend on the number of images per GPU. Nothing is frozen. C2..C5 are the last block
# of each stride.
_base_ = ['mmdet::_base_/datasets/coco_detection.py', 'mmdet::_base_/default_runtime.py']
custom_imports = dict(imports=['ghostdet'])

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
# mmdet's base config silently drops images below 32 pixels; your own data may consist of such images.
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline, filter_cfg=dict(min_size=1)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# A longer warm-up and clipped gradients keep light backbones from diverging early, and do not harm a good run.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2))
# The learning rates are for 16 images per step. They are scaled to the real number of images per step.
auto_scale_lr = dict(enable=True, base_batch_size=16)

randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater'))
# If statistics are updated (the paper-bn configs), each GPU has its own: their mean is evaluated and saved.
custom_hooks = [dict(type='SyncBuffersHook')]
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
