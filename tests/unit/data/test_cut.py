"""The cut keeps every class in both parts where it can, is the same for the same seed, and loses no record."""
import copy
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdet.data.cut import cut
from ghostdet.data.voc import read_voc, voc_classes, voc_splits
from ghostdet.errors import UserError
from tests.conftest import examples
from tests.real_images import BCCD


def content_of(classes):
    """One image for each entry: the classes of its boxes."""
    images = [dict(id=10 + index, file_name=f'{index:04d}.jpg', width=9, height=9) for index in range(len(classes))]
    boxes = [dict(image_id=image['id'], category_id=name, bbox=[0, 0, 5, 5]) for image, names in zip(images, classes)
             for name in names]
    categories = [dict(id=name, name=str(name)) for name in sorted({name for names in classes for name in names})]
    return dict(images=images, annotations=[dict(box, id=index) for index, box in enumerate(boxes, 1)],
                categories=categories)


def holders(content):
    """Class -> images that have it."""
    found = {}
    for box in content['annotations']:
        found.setdefault(box['category_id'], set()).add(box['image_id'])
    return found


def spare(content):
    """Images without which every class still has an image."""
    found = holders(content)
    return [image for image in content['images'] if not any(members == {image['id']} for members in found.values())]


SETS = st.lists(st.lists(st.integers(1, 6), max_size=3), min_size=2, max_size=40)


@examples(300)
@given(classes=SETS, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 5))
def test_cut_what_holds_for_any_set(classes, fraction, seed):
    content = content_of(classes)
    if not spare(content):
        with pytest.raises(UserError, match='would lose this class'):
            cut(content, fraction, seed)
        return
    train, val = cut(content, fraction, seed)
    for part in ('images', 'annotations'):
        joined = sorted(train[part] + val[part], key=lambda record: record['id'])
        assert joined == content[part]
    for part in (train, val):
        assert part['images']
        assert part['categories'] == content['categories']
        assert {box['image_id'] for box in part['annotations']} <= {image['id'] for image in part['images']}
    in_all, in_train, in_val = holders(content), holders(train), holders(val)
    assert in_all.keys() == in_train.keys()
    for name, images in in_all.items():
        if len(images) > 1 and name not in in_val:  # then each of its images is the last one of some class in train
            assert all(any(in_train[other] == {image} for other, members in in_all.items() if image in members)
                       for image in images)


def test_cut_fractions_are_those_asked_for():
    source = random.Random(1)
    classes = [source.choices(range(1, 9), [2 ** -k for k in range(8)], k=source.randint(0, 4)) for _ in range(1000)]
    content = content_of(classes)
    _, val = cut(content, 0.2, seed=3)
    assert len(val['images']) == pytest.approx(200, abs=10)
    assert len({image['id'] for image in content['images']} - {box['image_id'] for box in content['annotations']}) > 150
    for name, images in holders(content).items():
        assert len(holders(val)[name]) == pytest.approx(0.2 * len(images), abs=max(2, 0.03 * len(images))), name


def test_cut_images_without_boxes_are_divided_by_the_same_fraction():
    _, val = cut(content_of([[]] * 50 + [[1]] * 50), 0.2)
    assert len(val['images']) == 20
    assert len(val['annotations']) == 10


def test_cut_depends_on_the_seed_and_not_on_the_order_of_the_records():
    content = content_of([[k % 3 + 1, k % 5 + 1] for k in range(60)])
    names = [{image['file_name'] for image in cut(content, 0.3, seed)[1]['images']} for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    shuffled = copy.deepcopy(content)
    for part in ('images', 'annotations'):
        random.Random(0).shuffle(shuffled[part])
    assert {image['file_name'] for image in cut(shuffled, 0.3, 0)[1]['images']} == names[0]


def test_cut_the_val_part_comes_from_all_over_the_set():
    """Images that follow each other are often alike."""
    _, val = cut(content_of([[1]] * 100), 0.1)
    assert len({image['id'] // 25 for image in val['images']}) > 2


def test_cut_two_images_of_a_class_go_to_one_part_each_and_a_single_one_to_train():
    train, val = cut(content_of([[1], [1], [2]]), 0.01)
    assert holders(train).keys() == {1, 2}
    assert holders(val).keys() == {1}


def test_cut_images_of_a_group_stay_together():
    content = content_of([[k % 2 + 1] for k in range(100)])
    train, val = cut(content, 0.2, groups=lambda image: image['id'] // 10)
    films = [{image['id'] // 10 for image in part['images']} for part in (train, val)]
    assert not films[0] & films[1]
    assert len(films[1]) == 2


def test_cut_crowds_do_not_count_as_boxes():
    content = content_of([[1]] * 5 + [[2]])
    content['annotations'][-1]['iscrowd'] = 1
    assert any(image['id'] == 15 for seed in range(20) for image in cut(content, 0.5, seed)[1]['images'])


@pytest.mark.parametrize(('classes', 'fraction', 'message'), [
    ([[1]] * 9, 0, '--val-fraction 0: expected a number between 0 and 1'), ([[1]] * 9, 1.0, '--val-fraction 1.0'),
    ([[1]] * 9, float('nan'), 'nan'), ([[1]], 0.5, 'off 1 images'), ([], 0.5, 'off 0 images'),
    ([[1], [2]], 0.5, 'every image has a class that no other')])
def test_cut_what_cannot_be_cut_is_refused(classes, fraction, message):
    with pytest.raises(UserError, match=message):
        cut(content_of(classes), fraction)


def test_cut_one_group_cannot_be_cut():
    with pytest.raises(UserError, match='all images are in one group'):
        cut(content_of([[1]] * 9), 0.5, groups=lambda image: 'film')


@pytest.mark.skipif(not BCCD.is_dir(), reason=f'BCCD is not in {BCCD}')
def test_cut_bccd_keeps_the_fraction_of_every_class():
    content, _ = read_voc(BCCD, voc_splits(BCCD)['trainval'], voc_classes(BCCD))
    _, val = cut(content, 0.3)
    assert len(val['images']) == pytest.approx(0.3 * 292, abs=3)
    of_all, of_val = (Counter({name: len(images) for name, images in holders(part).items()}) for part in (content, val))
    assert all(of_val[name] == pytest.approx(0.3 * of_all[name], abs=5) for name in of_all)
