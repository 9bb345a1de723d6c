# The ImageNet classifier: C5, the last 1x1 convolution, global pool, 1x1 to 1280, ReLU, dropout 0.2 (arXiv 1911.11907,
# table 1). For another width, set model.backbone.width and model.head.in_channels (width x 960, rounded as in the
# backbone). From the authors: batch 1024, learning rate 0.4, cosine with 5 epochs of warm-up
# (iamhankai/ghostnet.pytorch issue 3) and 400 epochs (issue 18). From users who read the authors' TensorFlow code:
# weight decay 4e-5, label smoothing 0.1 and augmentation (huawei-noah/Efficient-AI-Backbones issue 53). Not run here.
default_scope = 'mmpretrain'
custom_imports = dict(imports=['ghostdet', 'mmpretrain.models', 'mmpretrain.datasets', 'mmpretrain.evaluation'])
data_root = 'data/imagenet/'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmdet.GhostNet', width=1.1, out_indices=(4,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='StackedLinearClsHead', num_classes=1000, in_channels=1056, mid_channels=[1280], dropout_rate=0.2,
        norm_cfg=None,
        act_cfg=dict(type='ReLU'), loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))
data_preprocessor = dict(num_classes=1000, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128, num_workers=4, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=128, num_workers=4, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='val', pipeline=test_pipeline))
val_evaluator = dict(type='Accuracy', topk=(1, 5))

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=400, val_interval=1)
val_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=5, convert_to_iter_based=True),  # until the last epoch
]
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.4, momentum=0.9, weight_decay=4e-5, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0.0))
auto_scale_lr = dict(enable=True, base_batch_size=1024)

randomness = dict(seed=0)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='CheckpointHook', max_keep_ckpts=2, save_best='auto'))
