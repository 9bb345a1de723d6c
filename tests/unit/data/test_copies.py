"""An image that train and val share has the same boxes in both."""
import copy
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdet.data.checked import Checked
from ghostdet.data.coco import Split
from ghostdet.data.copies import shared_images
from ghostdet.errors import DataError

FOLDERS = ('a', 'b')
BOXES = [dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4]), dict(image_id=1, category_id=2, bbox=[1, 2, 3, 4]),
         dict(image_id=2, category_id=1, bbox=[5, 6, 7, 8])]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    for name in FOLDERS:
        (root / name / 'sub').mkdir(parents=True)
        for number in range(1, 5):
            (root / name / f'{number}.png').write_bytes(bytes([number]) * (10 if name == 'a' else 20))
    (root / 'link').symlink_to(root / 'a')
    return root


def checked(name, images, names=('1.png', '2.png'), boxes=BOXES, classes=('cat', 'dog'), file=None):
    return Checked(Split(name, images.parent / (file or f'{name}.json'), images), dict(
        images=[dict(id=number, file_name=text) for number, text in enumerate(names, 1)], annotations=boxes,
        categories=[dict(id=number, name=text) for number, text in enumerate(classes, 1)]))


def moved(*boxes):
    return [dict(copy.deepcopy(box), **change) for box, change in zip(BOXES, boxes, strict=True)]


def test_shared_images_with_other_boxes_are_refused(folder):
    boxes = moved(dict(bbox=[1, 2, 3, 9]), {}, dict(bbox=[0, 0, 1, 1]))
    with pytest.raises(DataError, match=r'train\.json and .*val\.json have different boxes for 2 images with the same '
                                        r'file name, such as .*a/1\.png, .*a/2\.png: one name .* Export each task by '
                                        'itself, or give the images different names'):
        shared_images(checked('train', folder / 'a'), checked('val', folder / 'a', boxes=boxes))


@pytest.mark.parametrize('names', [('./1.png', 'sub/../2.png'), ('1.png', '2.png')])
@pytest.mark.parametrize('images', ['link', 'a', 'b/../a', 'b'])
def test_shared_images_are_told_by_their_path(images, names, folder):
    first = checked('train', folder / 'a')
    other = checked('val', folder / images, names, BOXES[:2])  # the second has no box
    if images == 'b':
        assert shared_images(first, other) == []
    else:
        with pytest.raises(DataError, match=r'for 1 images .* such as \S*a/2\.png:'):
            shared_images(first, other)


@pytest.mark.parametrize(('boxes', 'classes'), [
    (moved({}, {}, {}), ('cat', 'dog')), (moved({}, {}, {})[::-1], ('cat', 'dog')),
    (moved(dict(bbox=[1.04, 1.96, 3, 4]), {}, {}), ('cat', 'dog')),
    (moved(dict(category_id=2), dict(category_id=1), dict(category_id=2)), ('dog', 'cat'))])
def test_shared_images_with_the_same_boxes_are_a_note(boxes, classes, folder):
    """In any order, nearly the same numbers, or other ids of the same classes."""
    (note,) = shared_images(checked('train', folder / 'a', ('1.png', '2.png', '3.png')),
                            checked('val', folder / 'a', boxes=boxes, classes=classes))
    assert note.names == ('1.png = 1.png', '2.png = 2.png')


def test_shared_images_a_box_twice_is_another_set_of_boxes(folder):
    with pytest.raises(DataError, match='for 1 images'):
        shared_images(checked('train', folder / 'a'), checked('val', folder / 'a', boxes=[*BOXES, BOXES[0]]))


def test_shared_images_parts_of_one_file_and_the_same_split_are_not_compared(folder):
    parts = [checked(name, folder / 'a', boxes=boxes, file='one.json') for name, boxes in
             (('train', BOXES), ('val', BOXES[:1]))]
    assert shared_images(*parts) == []
    assert shared_images(checked('train', folder / 'a', ('1.png',), file='one.json'),
                         checked('val', folder / 'a', ('2.png',), file='one.json')) == []


def test_shared_images_with_boxes_that_are_rounded_otherwise_are_a_note(folder):
    boxes = [dict(BOXES[0], bbox=[value + 0.06 for value in BOXES[0]['bbox']]), *BOXES[1:]]
    assert shared_images(checked('train', folder / 'a'), checked('val', folder / 'a', boxes=boxes[::-1]))


PICTURES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)), max_size=5)


@given(PICTURES, PICTURES)
def test_shared_images_are_refused_just_if_an_image_has_other_boxes(folder, first, second):
    splits, names = [], tuple(f'{number}.png' for number in range(1, 4))
    for split, boxes in (('train', first), ('val', second)):
        records = [dict(image_id=image, category_id=kind, bbox=[5 * x, 0, 5, 5]) for image, kind, x in boxes]
        splits.append(checked(split, folder / 'a', names, records))
    odd = {image for image, *_ in (Counter(first) - Counter(second)) + (Counter(second) - Counter(first))}
    if odd:
        with pytest.raises(DataError, match=f'for {len(odd)} images'):
            shared_images(*splits)
    else:
        shared_images(*splits)
