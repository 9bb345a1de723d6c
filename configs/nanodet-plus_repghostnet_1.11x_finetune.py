# NanoDet-Plus with RepGhostNet 1.11x for 100 to 10,000 images of your own: light as a whole, for a CPU or a phone.
# It trains without the auxiliary branch, which would cost several times as much as the detector itself on a CPU.
_base_ = ['./_base_/nanodet-plus.py', './_base_/finetune.py']

model = dict(
    backbone=dict(
        type='RepGhostNet', width=1.11, out_indices=(1, 2, 3),  # C3, C4, C5
        init_cfg=dict(type='Pretrained', checkpoint='ghostdet://repghostnet_1.11x')),
    neck=dict(in_channels=[44, 124, 176]),
    aux_head=None)
train_dataloader = dict(batch_size=4)  # more steps in the same time
optim_wrapper = dict(optimizer=dict(lr=4e-3))  # for 16 images a step: 1e-3 for these 4
custom_hooks = [*_base_.custom_hooks, dict(type='ChannelsLastHook')]
train_cfg = dict(max_epochs=20, val_interval=5)
schedule = dict(epochs=20)
