"""Real COCO images through the real door. Skipped where the 128 images are not at hand."""
import json
import os
from pathlib import Path

import pytest

from ghostdet.data.check import Source
from ghostdet.data.coco import find_splits, read_annotations
from tests.conftest import ROOT, run_tool

REAL = Path(os.environ.get('GHOSTDET_COCO128') or ROOT.parent / 'shared/data/coco128')
pytestmark = pytest.mark.skipif(not REAL.is_dir(),
                                reason=f'no real images at {REAL}; GHOSTDET_COCO128 names another folder')


def test_cocos_own_files_pass_the_checks_as_they_are():
    split = find_splits(REAL)['train']
    checked = Source(split, read_annotations(split)).check()
    assert (len(checked.content['images']), checked.boxes, checked.changed, checked.bad) == (128, 929, False, [])


def test_twelve_real_images_train_and_evaluate(tmp_path):
    content = json.loads((REAL / 'annotations/instances_train2017.json').read_text())
    content['images'] = content['images'][:12]
    kept = {image['id'] for image in content['images']}
    content['annotations'] = [box for box in content['annotations'] if box['image_id'] in kept]
    (tmp_path / 'twelve.json').write_text(json.dumps(content))
    assert run_tool('train', ROOT / 'configs/retinanet_ghostnet_1.1x_coco128.py', '--work-dir', tmp_path / 'run',
                    '--train-ann', tmp_path / 'twelve.json', '--train-img', REAL / 'train2017') == 0
    table = json.loads((tmp_path / 'run/coco.json').read_text())
    assert len(table['classes']) == 80
    assert {box['image_id'] for box in json.loads((tmp_path / 'run/detections.bbox.json').read_text())} == kept
