# Data and schedule for 10 to 10,000 images of your own, on one GPU or two cores. Name the data with --data-root.
_base_ = './small.py'

# All images are seen at 0.7 to 1.3 times this scale, so that objects of each size are trained in several sizes.
scale = (416, 416)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=scale, ratio_range=(0.7, 1.3), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(batch_size=8, num_workers=2, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=8, num_workers=2, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# 12 epochs for up to 1000 images; for more, as many steps as grow with the square root of their number; at least 480.
# It holds while max_epochs is 12: any other number is taken as it is.
train_cfg = dict(max_epochs=12, val_interval=3)
schedule = dict(epochs=12, images=1000, steps=480)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
