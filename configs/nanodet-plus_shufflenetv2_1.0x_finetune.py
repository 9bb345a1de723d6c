# NanoDet-Plus-m for 10 to 10,000 images of your own, from the weights that its authors trained on COCO.
# It trains without the auxiliary branch, which would cost several times as much as the detector itself on a CPU.
_base_ = ['./_base_/nanodet-plus.py', './_base_/finetune.py']

load_from = 'ghostdet://nanodet-plus-m_416'
model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395], bgr_to_rgb=False),
    backbone=dict(
        type='TruncatedShuffleNetV2', out_indices=(0, 1, 2), frozen_stages=1,  # stem and C3: saves a fifth of the time
        act_cfg=dict(type='LeakyReLU', negative_slope=0.1),
        # Without the detector, --cfg-options load_from=None: the backbone alone.
        init_cfg=dict(type='CompletePretrained', checkpoint='ghostdet://shufflenetv2_1.0x')),
    neck=dict(in_channels=[116, 232, 464]),
    aux_head=None)
train_dataloader = dict(batch_size=4)  # more steps in the same time
optim_wrapper = dict(optimizer=dict(lr=4e-3))  # for 16 images a step: 1e-3 for these 4
# Averaged weights are evaluated and saved: of the last 500 steps, and at first of fewer.
custom_hooks = [
    *_base_.custom_hooks, dict(type='ChannelsLastHook'),
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.002, gamma=100, update_buffers=True, priority=49)]
