"""Twenty photographs: COCO's where they are at hand, else pieces of the two that come with scikit-learn."""
import os
from pathlib import Path

import cv2
import sklearn.datasets

from tests.conftest import ROOT

COCO128 = Path(os.environ.get('GHOSTDET_COCO128') or ROOT.parent / 'shared/data/coco128')
BCCD = Path(os.environ.get('GHOSTDET_BCCD') or ROOT.parent / 'shared/data/bccd')


def twenty():
    """Pixels (H, W, 3), blue first, of many sizes."""
    files = sorted((COCO128 / 'train2017').glob('*.jpg'))[:20]
    if files:
        return [cv2.imread(str(file)) for file in files]
    photos = [photo[:, :, ::-1] for photo in sklearn.datasets.load_sample_images().images]
    # Nearly square: in much padding around an image all anchors have one and the same score, and no order.
    return [photos[k % 2][5 * k:5 * k + 320 - 2 * k, 16 * k:16 * k + 320].copy() for k in range(20)]
