# A small NanoDet-Plus on the built-in shapes, with the schedule of the other mini configs.
_base_ = ['./nanodet-plus.py', './mini.py']

model = dict(
    neck=dict(out_channels=64),
    bbox_head=dict(num_classes=3, in_channels=64, feat_channels=64),
    aux_head=dict(num_classes=3, in_channels=128, feat_channels=64, stacked_convs=2,
                  norm_cfg=dict(type='GN', num_groups=8)),
    detach_epoch=3)
custom_hooks = [*_base_.custom_hooks, dict(type='SetEpochInfoHook'), dict(type='ChannelsLastHook')]
