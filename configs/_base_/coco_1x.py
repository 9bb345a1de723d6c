# The recipe that all detectors share: COCO, 800/1333, 12 epochs, SGD. The paper names no more than these four; the rest
# is chosen here, once, and docs/comparison.md says on what evidence. The base of a detector gives its learning rate; a leaf
# gives the backbone, its channels, and the paper's AP (`expected`, of which seeds alone move some tenths of a point).
# All backbones have norm_eval=True: statistics of batch norm that stand still do not depend on how many images a GPU holds.
# They come with the ImageNet weights. Nothing is frozen, and C2..C5 are the last block of each stride.
_base_ = ['mmdet::_base_/datasets/coco_detection.py', 'mmdet::_base_/default_runtime.py']
custom_imports = dict(imports=['ghostdet'])

train_pipeline = [
    dict(type='ReadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='DecodeAndResize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackPlanes'),
]
test_pipeline = [
    dict(type='ReadImage'),
    dict(type='DecodeAndResize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackPlanes', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
# mmdet's base leaves out images below 32 pixels without a word, which somebody's own data may consist of.
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline, filter_cfg=dict(min_size=1)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# A longer warm-up and clipped gradients cost a good run nothing, and keep light backbones from diverging early.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2))
# The rates in the leaves are for 16 images a step, and are scaled to what a run really has.
auto_scale_lr = dict(enable=True, base_batch_size=16)

randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater'))
# Where statistics are updated (the paper-bn variants), every GPU has its own: their mean is what is evaluated and saved.
custom_hooks = [dict(type='ProgressBarHook'), dict(type='SyncBuffersHook')]
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
