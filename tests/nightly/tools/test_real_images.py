"""Real COCO images through the real door. Skipped where the 128 images are not at hand."""
import json
import os
from pathlib import Path

import pytest

from ghostdet.data.checked import Source
from ghostdet.data.coco import find_splits, read_annotations
from tests.conftest import ROOT, run_tool

REAL = Path(os.environ.get('GHOSTDET_COCO128') or ROOT.parent / 'shared/data/coco128')
NANODET = Path(os.environ.get('GHOSTDET_NANODET') or ROOT.parent / 'shared/data/nanodet-plus') / 'recovered.pth'
pytestmark = pytest.mark.skipif(not REAL.is_dir(),
                                reason=f'no real images at {REAL}; GHOSTDET_COCO128 names another folder')


def test_cocos_own_files_pass_the_checks_as_they_are():
    split = find_splits(REAL)['train']
    checked = Source(split, read_annotations(split)).check()
    assert (len(checked.content['images']), checked.boxes, checked.changed, checked.bad) == (128, 929, False, [])


@pytest.mark.skipif(not NANODET.is_file(), reason=f'no {NANODET}; GHOSTDET_NANODET names another folder')
def test_two_of_cocos_classes_have_the_rows_that_they_have_among_all(tmp_path):
    content = json.loads((REAL / 'annotations/instances_train2017.json').read_text())
    two = [category for category in content['categories'][::-1] if category['name'] in ('person', 'car')]
    ids = {category['id'] for category in two}
    boxes = [box for box in content['annotations'] if box['category_id'] in ids]
    rows = []
    for name, part in (('all', content), ('two', dict(content, categories=two, annotations=boxes))):
        (tmp_path / f'{name}.json').write_text(json.dumps(part))
        files = [word for split in ('train', 'val')
                 for word in (f'--{split}-ann', tmp_path / f'{name}.json', f'--{split}-img', REAL / 'train2017')]
        assert run_tool('test', 'nanodet-plus_shufflenetv2_1.0x_416_coco', NANODET, *files, '--work-dir',
                        tmp_path / name, short=[]) == 0
        rows.append(json.loads((tmp_path / name / 'coco.json').read_text())['classes'])
    assert len(rows[0]) == 80
    assert rows[1] == {name: rows[0][name] for name in ('person', 'car')}
    assert rows[1]['person']['AP'] > 0.4


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
