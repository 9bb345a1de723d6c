# mmdet's RTMDet-tiny with its recipe of 300 epochs at 640 pixels. A leaf config sets the backbone and its channels.
_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
custom_imports = dict(imports=['ghostdet'])

# Accept images of any size.
train_dataloader = dict(dataset=dict(filter_cfg=dict(min_size=1)))

auto_scale_lr = dict(enable=True, base_batch_size=256)  # mmdet's learning rate is for 8 GPUs with 32 images each
randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater'))
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
