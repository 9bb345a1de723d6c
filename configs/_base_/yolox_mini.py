# A small YOLOX on the built-in shapes, with the schedule of the other mini configs and without mosaic augmentation.
_base_ = './mini.py'

model = dict(
    type='YOLOX',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
        pad_size_divisor=32),
    neck=dict(type='YOLOXPAFPN', out_channels=64, num_csp_blocks=1),
    bbox_head=dict(type='YOLOXHead', num_classes=3, in_channels=64, feat_channels=64),
    train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
    test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)))
