# NanoDet-Plus on the built-in shapes, with the schedule of the other mini configs.
_base_ = ['./nanodet-plus.py', './mini.py']

model = dict(bbox_head=dict(num_classes=3), aux_head=dict(num_classes=3), detach_epoch=3)
custom_hooks = [*_base_.custom_hooks, dict(type='SetEpochInfoHook')]
