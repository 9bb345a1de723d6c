"""Twenty photographs: COCO's where they are at hand, else pieces of the two that come with scikit-learn."""
import os
from pathlib import Path

import cv2
import pytest
import sklearn.datasets

from tests.conftest import ROOT

COCO128 = Path(os.environ.get('GHOSTDET_COCO128') or ROOT.parent / 'shared/data/coco128')
# NanoDet-Plus-m 416 as its authors trained it on COCO: recovered.pth has its weights under our names, without the
# auxiliary branch and without a config.
NANODET = Path(os.environ.get('GHOSTDET_NANODET') or ROOT.parent / 'shared/data/nanodet-plus')
needs_nanodet = pytest.mark.skipif(
    not ((NANODET / 'recovered.pth').is_file() and COCO128.is_dir()),
    reason=f'no trained detector at {NANODET}, or no images at {COCO128}; GHOSTDET_NANODET and GHOSTDET_COCO128 name '
           'other folders')
BCCD = Path(os.environ.get('GHOSTDET_BCCD') or ROOT.parent / 'shared/data/bccd')
KUDZU = Path(os.environ.get('GHOSTDET_KUDZU') or ROOT.parent / 'shared/data/kudzu')


def twenty():
    """Pixels (H, W, 3), blue first, of many sizes."""
    files = sorted((COCO128 / 'train2017').glob('*.jpg'))[:20]
    if files:
        return [cv2.imread(str(file)) for file in files]
    photos = [photo[:, :, ::-1] for photo in sklearn.datasets.load_sample_images().images]
    # Nearly square: in much padding around an image all anchors have one and the same score, and no order.
    return [photos[k % 2][5 * k:5 * k + 320 - 2 * k, 16 * k:16 * k + 320].copy() for k in range(20)]
