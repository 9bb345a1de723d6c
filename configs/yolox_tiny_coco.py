# YOLOX-tiny as mmdet published it, with its own backbone, at 416 pixels. Not run here.
_base_ = './_base_/yolox_coco.py'

expected = dict(bbox_mAP=0.320, tolerance=0.005, source='metafile.yml of mmdet')
model = dict(data_preprocessor=dict(mean=None, std=None, bgr_to_rgb=False))  # raw pixels, from 0 to 255, blue first
