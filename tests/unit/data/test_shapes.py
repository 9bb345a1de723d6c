"""The built-in images keep what the README says of them."""
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from ghostdet.data.shapes import CLASSES, ShapesSet, draw_image
from ghostdet.errors import UserError


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('shapes')
    ShapesSet(train=20, val=60).write(root)
    contents = {split: json.loads((root / f'annotations/instances_{split}2017.json').read_text())
                for split in ('train', 'val')}
    return root, contents


def test_at_least_a_quarter_small_and_a_quarter_medium(shapes):
    areas = np.array([box['area'] for box in shapes[1]['val']['annotations'] if not box['iscrowd']])
    assert (areas < 32 ** 2).mean() >= 0.25
    assert ((areas >= 32 ** 2) & (areas < 96 ** 2)).mean() >= 0.25


def test_classes_are_balanced_and_colour_does_not_tell_them_apart(shapes):
    """The mean colour inside the boxes, averaged over a class, is nearly the same for all."""
    root, contents = shapes
    colours = {index: [] for index in range(1, len(CLASSES) + 1)}
    for box in contents['val']['annotations']:
        if not box['iscrowd']:
            image = np.asarray(Image.open(root / 'val2017' / f'{box["image_id"]:06d}.png'), dtype=float)
            x, y, w, h = (int(value) for value in box['bbox'])
            colours[box['category_id']].append(image[y + h // 2, x + w // 2])
    assert len(CLASSES) >= 3
    assert min(map(len, colours.values())) > 0.2 * sum(map(len, colours.values()))
    means = np.array([np.mean(values, 0) for values in colours.values()])
    assert np.ptp(means, axis=0).max() < np.mean([np.std(values, 0) for values in colours.values()])


def test_shapes_overlap(shapes):
    boxes = [box for box in shapes[1]['val']['annotations'] if not box['iscrowd']]
    pairs = 0
    for first in boxes:
        for second in boxes:
            if first['image_id'] == second['image_id'] and first['id'] < second['id']:
                one, other = (np.array([box['bbox']], float) for box in (first, second))
                pairs += coco_mask.iou(one, other, [0])[0, 0] > 0.02
    assert pairs >= 10


def test_crowd_region_has_a_mask_that_fits_its_box(shapes):
    crowds = [box for box in shapes[1]['val']['annotations'] if box['iscrowd']]
    assert crowds
    for crowd in crowds:
        encoded = coco_mask.frPyObjects(crowd['segmentation'], 128, 128)
        assert coco_mask.toBbox(encoded).tolist() == crowd['bbox']
        assert coco_mask.area(encoded) >= crowd['area'] > 0


def test_boxes_are_tight_around_what_is_drawn():
    random = np.random.default_rng(3)
    _, records = draw_image(96, random)
    for record in records:
        x, y, w, h = record['bbox']
        assert 0 <= x < x + w <= 96
        assert 0 <= y < y + h <= 96
        assert record['area'] <= w * h


def test_same_seed_same_files_and_another_seed_others(tmp_path, shapes):
    ShapesSet(train=2, val=2, size=64, seed=1).write(tmp_path / 'a')
    ShapesSet(train=2, val=2, size=64, seed=1).write(tmp_path / 'b')
    ShapesSet(train=2, val=2, size=64, seed=2).write(tmp_path / 'c')
    a, b, c = ((tmp_path / name / 'train2017/000001.png').read_bytes() for name in 'abc')
    assert a == b != c
    assert (tmp_path / 'a/val2017/000001.png').read_bytes() != a


def test_a_whole_set_is_kept_another_one_replaced_and_files_of_others_never(tmp_path):
    ShapesSet(train=2, val=1, size=64).write(tmp_path / 'data')
    image = tmp_path / 'data/train2017/000001.png'
    written = image.stat().st_mtime_ns
    ShapesSet(train=2, val=1, size=64).write(tmp_path / 'data')
    assert image.stat().st_mtime_ns == written
    ShapesSet(train=2, val=1, size=72).write(tmp_path / 'data')
    assert Image.open(image).size == (72, 72)
    assert [path.name for path in tmp_path.iterdir()] == ['data']  # nothing half made is left
    (tmp_path / 'data/shapes.json').unlink()
    with pytest.raises(UserError, match='not generated'):
        ShapesSet(train=2, val=1, size=64).write(tmp_path / 'data')
    assert image.exists()
