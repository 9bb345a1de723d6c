# NanoDet-Plus-m: neck, head and auxiliary branch. A leaf config sets the backbone and its channels.
model = dict(
    type='NanoDetPlus',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
        pad_size_divisor=32),
    neck=dict(type='GhostPAN', out_channels=96),
    bbox_head=dict(type='NanoDetPlusHead', num_classes=80),
    aux_head=dict(type='NanoDetPlusAuxHead', num_classes=80),
    detach_epoch=10,
    test_cfg=dict(score_thr=0.05, nms_pre=1000, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100))
