# YOLOv3 on the built-in shapes: MMDetection's light YOLOv3 (the MobileNetV2 one) with half the neck channels.
_base_ = './mini.py'

model = dict(
    type='YOLOV3',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
        pad_size_divisor=32),
    neck=dict(type='YOLOV3Neck', num_scales=3, out_channels=[48, 48, 48]),
    bbox_head=dict(
        type='YOLOV3Head', num_classes=3, in_channels=[48, 48, 48], out_channels=[96, 96, 96],
        # The shapes are roughly square with sides of 18 to 115 pixels, so anchors have 19 to 107 pixels.
        anchor_generator=dict(
            type='YOLOAnchorGenerator', strides=[32, 16, 8],
            base_sizes=[[(70, 70), (86, 86), (107, 107)], [(38, 38), (47, 47), (57, 57)],
                        [(19, 19), (24, 24), (30, 30)]]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0, reduction='sum'),
        loss_conf=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0, reduction='sum'),
        loss_xy=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=2.0, reduction='sum'),
        loss_wh=dict(type='MSELoss', loss_weight=2.0, reduction='sum')),
    train_cfg=dict(assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, conf_thr=0.005, nms=dict(type='nms', iou_threshold=0.45),
        max_per_img=100))
