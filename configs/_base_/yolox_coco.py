# mmdet's YOLOX-tiny with its recipe of 300 epochs: trained at 320 to 640 pixels, tested at 416. A leaf config sets the
# backbone and its channels.
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
custom_imports = dict(imports=['ghostdet'])

# YOLOX's own backbones read raw pixels. Backbones with ImageNet weights need pixels normalised as on ImageNet.
model = dict(data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True))
# Accept images of any size.
train_dataloader = dict(dataset=dict(dataset=dict(filter_cfg=dict(min_size=1))))

auto_scale_lr = dict(enable=True)  # mmdet's learning rate is for 64 images per step
randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater'))
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
