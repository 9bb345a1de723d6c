# The published recipe of NanoDet-Plus-m on COCO: 300 epochs, 96 images a step, stretched to 416x416. Made of mmdet's
# transforms, it differs in two things: only half of the images get changes of colour, and these may swap channels.
_base_ = ['./nanodet-plus.py', 'mmdet::_base_/datasets/coco_detection.py', 'mmdet::_base_/default_runtime.py']
custom_imports = dict(imports=['ghostdet'])

scale = (416, 416)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='RandomAffine', max_rotate_degree=0, max_translate_ratio=0.2, scaling_ratio_range=(0.6, 1.4),
         max_shear_degree=0, border_val=(0, 0, 0)),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion', brightness_delta=51, contrast_range=(0.6, 1.4), saturation_range=(0.5, 1.2),
         hue_delta=0),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(batch_size=96, num_workers=8,
                        dataset=dict(pipeline=train_pipeline, filter_cfg=dict(min_size=1)))
val_dataloader = dict(batch_size=32, num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=300, T_max=300, eta_min_ratio=0.05),
]
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=35, norm_type=2))
auto_scale_lr = dict(enable=True, base_batch_size=96)

randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater'))
custom_hooks = [
    dict(type='SetEpochInfoHook'),  # the auxiliary branch is detached from epoch 10 on
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=2e-4, gamma=2000, update_buffers=True, priority=49),
]
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
