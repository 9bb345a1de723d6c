# RTMDet-tiny as mmdet published it, with its own backbone. Not run here.
_base_ = './_base_/rtmdet_coco.py'

expected = dict(bbox_mAP=0.409, tolerance=0.005, source='metafile.yml of mmdet')
