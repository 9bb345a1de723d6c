# mmdet's light YOLOv3 at 320 to 416 pixels, with its recipe of 300 epochs. A leaf config sets backbone and channels.
_base_ = 'mmdet::yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py'
custom_imports = dict(imports=['ghostdet'])

# Accept images of any size.
train_dataloader = dict(dataset=dict(dataset=dict(filter_cfg=dict(min_size=1))))

find_unused_parameters = False  # the leaf configs' backbones have no unused parameters
auto_scale_lr = dict(enable=True)  # mmdet's learning rate is for 192 images per step
randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater'))
custom_hooks = [dict(type='SyncBuffersHook')]
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
