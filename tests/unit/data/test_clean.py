"""What has one clear meaning is corrected, box for box, and every change is reported."""
import copy
import math

import pytest
from PIL import Image

from ghostdet.data.clean import clean


@pytest.fixture
def folder(tmp_path):
    for name in ('a.jpg', 'B.JPG', 'sub/c d.png', 'é.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new('RGB', (20, 10)).save(tmp_path / name)
    return tmp_path


def image(id=1, file_name='a.jpg', **sides):
    return dict(id=id, file_name=file_name, **(sides or dict(width=20, height=10)))


def content(images=None, boxes=(), categories=None):
    return dict(images=images or [image()], annotations=[dict(id=index, **box) for index, box in enumerate(boxes, 1)],
                categories=categories or [dict(id=1, name='cat')])


BOX = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4])


def cleaned(content, folder):
    """The content after `clean`, and its notes as text."""
    notes = clean(content, folder)
    return content, ' '.join(change.to_text() for change in notes)


def test_clean_what_is_right_stays_as_it_is(folder):
    right = content(boxes=[BOX],
                    categories=[dict(id=0, name='a', supercategory='b'), dict(id=5, name='b', supercategory='b')])
    assert cleaned(copy.deepcopy(right), folder) == (right, '')


@pytest.mark.parametrize(('name', 'file'), [
    ('images/a.jpg', 'a.jpg'), ('b.jpg', 'B.JPG'), (r'C:\data\sub\c d.png', 'sub/c d.png'),
    ('c%20d.png', 'sub/c d.png'),
    ('/home/somebody/set/sub/C D.PNG', 'sub/c d.png'), ('e\u0301.png', 'é.png'), ('SUB/c d.png', 'sub/c d.png')])
def test_clean_a_file_that_fits_alone_is_taken(name, file, folder):
    result, notes = cleaned(content([image(file_name=name)]), folder)
    assert result['images'][0]['file_name'] == file
    assert f'{name} -> {file}' in notes


def test_clean_of_two_files_that_fit_none_is_taken_unless_the_folder_decides(folder):
    for name in ('x/a.png', 'y/a.png'):
        (folder / name).parent.mkdir()
        Image.new('RGB', (20, 10)).save(folder / name)
    images = [image(1, 'old/a.png'), image(2, 'old/Y/a.png'), image(3, 'gone.png')]
    found = [record['file_name'] for record in cleaned(content(images), folder)[0]['images']]
    assert found == ['old/a.png', 'y/a.png', 'gone.png']


@pytest.mark.parametrize(('sides', 'kind'), [
    (dict(width=20), 'missing'), (dict(width=0, height=10), 'not positive'),
    (dict(width='20', height='10'), 'text'), (dict(width=20.0, height=10), 'text'),
    (dict(width=None, height=-1), 'missing'), (dict(width=math.nan, height='ten'), 'not positive'),
    (dict(width=True, height=[10]), 'not positive')], ids=str)
def test_clean_sizes_come_from_the_file(sides, kind, folder):
    result, notes = cleaned(content([image(**sides)]), folder)
    assert (result['images'][0]['width'], result['images'][0]['height']) == (20, 10)
    assert notes == {
        'missing': 'sizes that were missing, taken from the image file: 1 (a.jpg)',
        'not positive': 'sizes that were not positive whole numbers, taken from the image file: 1 (a.jpg)',
        'text': 'sizes given as text or with a decimal point, read as whole numbers: 1 (a.jpg)'}[kind]


def test_clean_a_size_that_is_only_text_is_kept(folder):
    """The check compares it with the file."""
    assert cleaned(content([image(width='40', height=30.0)]), folder)[0]['images'][0] == image(width=40, height=30)


MASK = dict(size=[10, 20], counts=[0, 5, 195])  # the first half of the first column


@pytest.mark.parametrize(('box', 'wanted'), [
    (dict(bbox=['1', '2.5', '3', 4]), [1, 2.5, 3, 4]), (dict(segmentation=[[1, 2, 5, 2, 5, 8]]), [1, 2, 4, 6]),
    (dict(bbox=None, segmentation=[[1, 2, 5, 2, 5, 8], [0, 0, 1, 0, 1, 1]]), [0, 0, 5, 8]),
    (dict(segmentation=MASK), [0, 0, 1, 5]),
    (dict(bbox=['a', 1, 2, 3]), ['a', 1, 2, 3]), (dict(segmentation=[[1, 2, 3]]), None), (dict(segmentation={}), None),
    (dict(segmentation=dict(size=[0, 20], counts='j<d0d00')), None),
    (dict(segmentation=dict(size=[2 ** 63, 1], counts='j<d0d00')), None)],
    ids=str)
def test_clean_boxes_as_text_and_boxes_of_segmentations(box, wanted, folder):
    result, notes = cleaned(content(boxes=[dict(image_id=1, category_id=1, **box)]), folder)
    assert result['annotations'][0].get('bbox') == wanted
    assert bool(notes) == (wanted is not None and wanted != box.get('bbox'))


@pytest.mark.parametrize(('ids', 'references'), [
    ((1, '2', 3.0), (1, '2', 3.0)), ((1, '2', 3.0), ('1', 2, '3')), ((-5, 2 ** 40, 7), (-5, 2 ** 40, 7)),
    (('a', 'b', ''), ('a', 'b', '')), ((1, 2, 3), ('1', 2.0, 3))], ids=str)
def test_clean_ids_of_any_type_become_numbers_and_boxes_follow(ids, references, folder):
    images = [image(id, name) for id, name in zip(ids, ('a.jpg', 'B.JPG', 'sub/c d.png'))]
    boxes = [dict(BOX, image_id=reference) for reference in references]
    result, notes = cleaned(content(images, boxes), folder)
    assert [record['id'] for record in result['images']] == [1, 2, 3]
    assert [record['original_id'] for record in result['images']] == list(ids)
    assert [box['image_id'] for box in result['annotations']] == [1, 2, 3]
    assert 'images are renumbered' in notes


def test_clean_a_box_of_no_image_stays_one(folder):
    result, _ = cleaned(content([image('a')], [dict(BOX, image_id=1)]), folder)
    assert result['annotations'][0]['image_id'] == '1 (no such id)'


def test_clean_records_that_share_an_id_share_the_new_one_and_the_others_are_renumbered(folder):
    images = [image(7), image(7, 'B.JPG'), image('x', 'sub/c d.png')]
    result, _ = cleaned(content(images, [dict(BOX, image_id=id) for id in (7, 'x')]), folder)
    assert [record['id'] for record in result['images']] == [1, 1, 2]
    assert [box['image_id'] for box in result['annotations']] == [1, 2]


@pytest.mark.parametrize('id', ['9' * 400, '9' * 5000, '9007199254740993'])
def test_clean_a_long_number_as_text_is_an_id_of_its_own(id, folder):
    """A float would be infinite, or the number of the other image."""
    images = [image(9007199254740992), image(id, 'B.JPG')]
    result, _ = cleaned(content(images, [dict(BOX, image_id=id)]), folder)
    assert result['annotations'][0]['image_id'] == 2


def test_clean_text_and_number_that_look_alike_are_two_ids(folder):
    images = [image('1'), image(1, 'B.JPG')]
    result, _ = cleaned(content(images, [dict(BOX, image_id='1'), dict(BOX, image_id=1), dict(BOX, image_id=1.0)]),
                        folder)
    assert [box['image_id'] for box in result['annotations']] == [1, 2, 2]


def test_clean_category_ids_too(folder):
    result, _ = cleaned(content(boxes=[dict(BOX, category_id='7')],
                        categories=[dict(id=3, name='a'), dict(id='7', name='b')]), folder)
    assert [(record['id'], record['original_id']) for record in result['categories']] == [(1, 3), (2, '7')]
    assert result['annotations'][0]['category_id'] == 2


def test_clean_one_file_under_several_ids_is_one_image_with_all_boxes(folder):
    images = [image(1), image(2, './a.jpg'), image(3, 'B.JPG')]
    result, notes = cleaned(content(images, [dict(BOX, image_id=id, bbox=[id, 2, 3, 4]) for id in (1, 2, 3)]), folder)
    assert [record['id'] for record in result['images']] == [1, 3]
    assert [box['image_id'] for box in result['annotations']] == [1, 1, 3]
    assert 'files under several ids, merged into one image: 1 (a.jpg)' in notes


@pytest.mark.parametrize('ids', [(2, 1, 1), (1, 1, 2)])
def test_clean_an_image_that_shares_its_id_with_another_is_not_merged(ids, folder):
    """Its boxes may belong to the other, which must not go with it."""
    images = [image(id, name) for id, name in zip(ids, ('a.jpg', 'B.JPG', 'a.jpg'))]
    result, _ = cleaned(content(images, [dict(BOX, image_id=1)]), folder)
    assert result['images'] == images
    assert result['annotations'][0]['image_id'] == 1


ROOT = dict(id=0, name='cell', supercategory='none')
CHILDREN = [dict(id=1, name='cell', supercategory='cell'), dict(id=2, name='platelet', supercategory='cell')]


def test_clean_boxes_that_a_file_has_under_each_id_are_taken_once(folder):
    images = [dict(id=number, file_name='a.jpg', width=20, height=10) for number in (1, 2)]
    boxes = [dict(id=10 * image + k, image_id=image, category_id=1, bbox=[k, 0, 5, 5]) for image in (1, 2)
             for k in range(2)]
    boxes.append(dict(id=30, image_id=2, category_id=1, bbox=[9, 0, 5, 5]))
    result, notes = cleaned(dict(images=images, annotations=boxes, categories=[dict(id=1, name='cat')]), folder)
    assert [box['id'] for box in result['annotations']] == [10, 11, 30]
    assert 'taken once: 2 (id 20, id 21)' in notes


def test_clean_roboflows_root_category_goes(folder):
    result, notes = cleaned(content(boxes=[BOX], categories=[ROOT, *CHILDREN]), folder)
    assert result['categories'] == CHILDREN
    assert 'left out: 1 (cell)' in notes


@pytest.mark.parametrize('categories', [
    [ROOT], [dict(ROOT, id=1), *CHILDREN[1:]], [ROOT, *CHILDREN, dict(id=3, name='dog', supercategory='animal')],
    [dict(ROOT, supercategory='life'), *CHILDREN], CHILDREN, [dict(id=0), dict(id=1, name='cell')]])
def test_clean_other_categories_stay(categories, folder):
    """Alone, with a box, not the parent of all others, or without a name."""
    assert cleaned(content(boxes=[BOX], categories=categories), folder)[0]['categories'] == categories


def test_clean_a_root_category_with_a_box_stays_however_the_box_writes_its_id(folder):
    result, _ = cleaned(content(boxes=[dict(BOX, category_id='01')], categories=[dict(ROOT, id=1), *CHILDREN[1:]]),
                        folder)
    assert [category['name'] for category in result['categories']] == ['cell', 'platelet']


def test_clean_a_category_that_is_no_record_does_not_go_with_roboflows(folder):
    given = content(boxes=[BOX], categories=[ROOT, None, *CHILDREN])
    assert cleaned(given, folder)[0]['categories'] == [None, *CHILDREN]


def test_clean_a_file_name_that_is_no_text_is_left_to_the_check(folder):
    images = [dict(id=1, file_name=['a.jpg']), dict(id=2, file_name='B.JPG')]
    result, _ = cleaned(content(images), folder)
    assert result['images'] == [images[0], dict(image(2, 'B.JPG'), size_from_file=True)]


@pytest.mark.parametrize('odd', [None, 3, 'text', [], dict(id=[1]), dict(id=math.nan, file_name=5)], ids=str)
def test_clean_records_that_are_none_are_left_to_the_check(odd, folder):
    given = dict(images=[odd], annotations=[odd], categories=[odd])
    assert cleaned(copy.deepcopy(given), folder)[0] == given
