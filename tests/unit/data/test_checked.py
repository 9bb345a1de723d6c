"""Every fault that a data set can have is refused with the file and the record, or left out on request."""
import copy
import json

import pytest
from PIL import Image

from ghostdet.data.checked import Source
from ghostdet.data.coco import Split, class_names, find_splits, read_annotations
from ghostdet.data.filling import fill_in
from ghostdet.errors import DataError
from ghostdet.images import headers
from ghostdet.images.exif import ORIENTATION
from ghostdet.images.headers import Header


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def data(tmp_path):
    """A folder in COCO's layout with 40 images and 120 good boxes, and its content."""
    root = tmp_path / 'data'
    (root / 'train2017').mkdir(parents=True)
    (root / 'annotations').mkdir()
    images = []
    for index in range(1, 41):
        Image.new('RGB', (100, 80), (index, 2 * index, 90)).save(root / f'train2017/{index}.jpg')
        images.append(dict(id=index, file_name=f'{index}.jpg', width=100, height=80))
    boxes = [dict(id=3 * image['id'] + k, image_id=image['id'], category_id=1 + k % 2, bbox=[60 - 20 * k, 50, 30, 20],
                  area=600, iscrowd=0) for image in images for k in range(3)]
    return root, dict(images=images, annotations=boxes, categories=[dict(id=1, name='cat'), dict(id=2, name='dog')])


def split_of(root, content):
    (root / 'annotations/instances_train2017.json').write_text(json.dumps(content))
    return find_splits(root)['train']


def checked(root, content, skip_bad=False, upright=True):
    split = split_of(root, content)
    return Source(split, read_annotations(split), upright=upright).check(skip_bad)


def test_check_good_data_passes_unchanged(data):
    root, content = data
    result = checked(root, content)
    assert (result.boxes, result.changed, result.dropped, result.bad) == (120, False, [], [])
    assert '40 images, 120 boxes, 2 classes' in result.summary()


# ----------------------------------------------------------------------------------------------------- files as a whole

def test_find_splits_missing_root_says_where_it_looked(tmp_path):
    with pytest.raises(DataError, match=f'{tmp_path}/nowhere does not exist'):
        find_splits(tmp_path / 'nowhere')


def test_read_annotations_missing_annotation_file_and_image_folder_are_named(data):
    root, content = data
    with pytest.raises(DataError, match=r'instances_train2017\.json is missing.*annotations at /'):
        read_annotations(find_splits(root)['train'])
    split = split_of(root, content)
    (root / 'train2017').rename(root / 'elsewhere')
    with pytest.raises(DataError, match=r'image folder .*train2017'):
        read_annotations(split)


GOOD_TEXT = '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "é"}]}'


@pytest.mark.parametrize(('text', 'message'), [
    ('\ufeff{"images": [], "annotations": [], "categories": []}', 'byte-order mark'),
    ('{"images": [', 'not valid JSON'), ('[' * 100_000, 'nested too deeply'),
    ('[' + '9' * 5000 + ']', 'not valid JSON'),
    ('{"images": [1], "images": [2]}', r"has the key 'images' twice"), (GOOD_TEXT.encode('utf-16'), 'byte-order mark'),
    (GOOD_TEXT.encode('utf-16-le'), 'not UTF-8 text'), (GOOD_TEXT.encode('latin-1'), 'not UTF-8 text'),
    ('[]', 'not a COCO annotation file'), ('{"images": []}', "no list 'annotations'")])
def test_read_annotations_file_that_is_no_annotation_file(data, text, message):
    root, _ = data
    file = root / 'annotations/instances_train2017.json'
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as error:
        read_annotations(find_splits(root)['train'])
    assert str(file) in str(error.value)


@pytest.mark.parametrize(('levels', 'brackets'), [(60, '['), (60, '{]' * 300), (400, ''), (400, '[')])
def test_read_annotations_how_deep_a_file_may_be(data, levels, brackets):
    """A file that can just be read could not be copied later. Brackets in texts do not count."""
    root, content = data
    split = split_of(root, dict(content, info=[brackets, 'DEEP']))
    split.annotations.write_text(split.annotations.read_text().replace('"DEEP"', '[' * levels + ']' * levels))
    if levels > 100:
        with pytest.raises(DataError, match='nested too deeply'):
            read_annotations(split)
    else:
        assert read_annotations(split)['info'][0] == brackets


def test_read_annotations_a_key_twice_with_one_value_is_read(data):
    root, content = data
    split = split_of(root, content)
    split.annotations.write_text('{"info": [1], "info": [1], ' + json.dumps(content)[1:])
    assert read_annotations(split) == dict(content, info=[1])


def test_find_splits_named_files_and_missing_val_split(data):
    root, content = data
    split_of(root, content)
    assert 'val' not in find_splits(root)
    named = find_splits(root, val_ann='annotations/instances_train2017.json', val_img='train2017')
    assert named['val'] == Split('val', root / 'annotations/instances_train2017.json', root / 'train2017')


@pytest.mark.parametrize(('categories', 'message'), [
    ([], 'no categories'), ([dict(id=1)], r'categories\[0\]'),
    ([dict(id=1, name='a'), dict(id=2, name='a')], 'same name: a'),
    ([dict(id=1, name='\ud800')], r'categories\[0\]'), ([[1]], r'categories\[0\]'),
    ([dict(id=1, name='a', original_id='x'), dict(id=1, name='b', original_id='x')], 'same id: x'),
    ([dict(id=1, name='a'), dict(id=1, name='b')], 'same id: 1')])
def test_class_names_categories_that_cannot_be_told_apart(tmp_path, categories, message):
    with pytest.raises(DataError, match=message):
        class_names(dict(categories=categories), tmp_path / 'a.json')


# -------------------------------------------------------------------------------------------------------------- records

def image_missing(root, content):
    (root / 'train2017/7.jpg').unlink()
    return '7.jpg: the image file is missing'


def image_header_broken(root, content):
    (root / 'train2017/7.jpg').write_bytes(b'not an image')
    return '7.jpg: the image does not open'


def image_empty(root, content):
    (root / 'train2017/7.jpg').write_bytes(b'')
    return '7.jpg: the image does not open'


def image_record_incomplete(root, content):
    del content['images'][6]['width']
    return r'images\[6\]: has no width'


def image_id_twice(root, content):
    content['images'].append(dict(content['images'][6], file_name='8.jpg'))
    return r'images\[6\]: 2 images have the id 7'


def category_unknown(root, content):
    content['annotations'][5]['category_id'] = 9
    return r'annotations\[5\]: \(id 8\) has category_id 9, which does not exist'


def image_unknown(root, content):
    content['annotations'][5]['image_id'] = 900
    return r'annotations\[5\]: \(id 8\) has image_id 900, which does not exist'


def box_missing(root, content):
    del content['annotations'][5]['bbox']
    return r'annotations\[5\]: \(id 8\) has a bbox that is not a list of four finite numbers'


def box_not_finite(root, content):
    content['annotations'][5]['bbox'][2] = float('nan')
    return r'annotations\[5\]: \(id 8\) has a bbox that is not a list of four finite numbers'


def id_of_a_wrong_kind(root, content):
    content['annotations'][5]['image_id'] = [1]
    return r'annotations\[5\]: \(id 8\) has image_id \[1\], which does not exist'


def file_name_missing(root, content):
    content['images'][6]['file_name'] = None
    return r'images\[6\]: has an id or a file_name of the wrong type'


def box_beyond_floats(root, content):
    content['annotations'][5]['bbox'][2] = 10 ** 400
    return r'annotations\[5\]: \(id 8\) has a bbox that is not a list of four finite numbers'


def crowd_flag_as_text(root, content):
    content['annotations'][5]['iscrowd'] = '0'
    return r'annotations\[5\]: \(id 8\) has iscrowd'


FAULTS = [id_of_a_wrong_kind, file_name_missing, box_beyond_floats, crowd_flag_as_text, image_missing,
          image_header_broken,
          image_empty, image_record_incomplete, image_id_twice, category_unknown, image_unknown, box_missing,
          box_not_finite]


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: fault.__name__)
def test_check_bad_record_is_refused_with_its_name_and_left_out_on_request(data, fault):
    root, content = data
    message = fault(root, content)
    with pytest.raises(DataError, match=message) as error:
        checked(root, content)
    assert '--skip-bad' in str(error.value)
    result = checked(root, content, skip_bad=True)
    count = 2 if fault is image_id_twice else 1
    assert len(result.bad) == count
    assert f'records left out: {count} (' in result.summary()
    assert result.boxes >= 117
    remaining = {image['id'] for image in result.content['images']}
    assert all(box['image_id'] in remaining for box in result.content['annotations'])


def test_check_boxes_of_an_image_that_is_left_out_are_listed(data):
    root, content = data
    image_missing(root, content)
    result = checked(root, content, skip_bad=True)
    assert result.dropped == content['annotations'][18:21]
    assert 'boxes of images that were left out, left out too: 3 (id 21 of image 7,' in result.summary()


def test_check_a_bad_image_shares_its_id_too(data):
    """Its boxes have the id of the good one."""
    root, content = data
    content['images'].append(dict(id=7))
    with pytest.raises(DataError, match=r'images\[6\]: 2 images have the id 7\n.*images\[40\]: has no file_name'):
        checked(root, content)
    assert checked(root, content, skip_bad=True).boxes == 117


def test_check_categories_are_checked_too(data):
    root, content = data
    with pytest.raises(DataError, match=r'categories\[1\]'):
        checked(root, dict(content, categories=[content['categories'][0], dict(id=[2])]))


def test_check_a_huge_or_deep_record_is_named_in_a_few_words(data):
    root, content = data
    deep = []
    for _ in range(100_000):
        deep = [deep]
    content['annotations'][5]['bbox'] = content['annotations'][6]['id'] = deep
    content['annotations'][6]['category_id'] = 'x' * 10_000
    content['images'][0]['id'] = list(range(10_000))
    with pytest.raises(DataError, match=r'bad records:') as error:
        Source(find_splits(root)['train'], content).check()
    assert len(str(error.value)) < 2000


def test_check_a_file_name_that_cannot_be_printed_is_noted(data):
    root, content = data
    content['images'][6]['file_name'] = '\ud800.jpg'
    result = checked(root, content, skip_bad=True)
    assert [entry['record'] for entry in result.bad] == [content['images'][6]]
    result.summary().encode()


def test_check_split_without_boxes_is_refused(data):
    root, content = data
    with pytest.raises(DataError, match='has no boxes'):
        checked(root, dict(content, annotations=[]))
    with pytest.raises(DataError, match='has no boxes'):  # crowd regions alone are nothing to learn from
        checked(root, dict(content, annotations=[dict(box, iscrowd=1) for box in content['annotations']]))


# ---------------------------------------------------------------------------------------------------------------- boxes

@pytest.mark.parametrize('bbox',
                         [[10, 10, 0, 20], [10, 10, 20, -3], [100, 10, 20, 20], [10, 80, 5, 5], [-30, 10, 30, 20]])
def test_check_few_boxes_without_area_or_outside_are_dropped_counted_and_listed(data, bbox):
    root, content = data
    content['annotations'][0]['bbox'] = bbox
    result = checked(root, content)
    assert [box['bbox'] for box in result.dropped] == [bbox]
    assert result.boxes == 119
    assert result.changed
    kind = 'outside their image' if min(bbox[2:]) > 0 else 'without area'
    assert [note.to_text() for note in result.notes] == [f'boxes {kind}, left out: 1 (id 3 of image 1)']


def test_check_more_than_one_percent_stop_the_run(data):
    root, content = data
    for box in content['annotations'][:3]:
        box['bbox'] = [10, 10, 0, 0]
    with pytest.raises(DataError, match=r'3 of 120 boxes \(2\.5%\) have no area') as error:
        checked(root, content)
    assert 'id 3' in str(error.value)
    assert checked(root, content, skip_bad=True).boxes == 117


def test_check_corners_in_place_of_width_and_height_are_recognised(data):
    root, content = data
    for box in content['annotations']:
        x, y, w, h = box['bbox']
        box['bbox'] = [x, y, x + w, y + h]
    content['annotations'][0]['bbox'] = [5, 5, 5, 5]
    for skip_bad in (False, True):  # leaving some out would not make the others right
        with pytest.raises(DataError, match='corners'):
            checked(root, content, skip_bad=skip_bad)


def test_check_relative_coordinates_are_recognised(data):
    root, content = data
    for box in content['annotations']:
        box['bbox'] = [0.2, 0.3, 0.1, 0.1]
    content['annotations'][0]['bbox'][2] = 1.002
    with pytest.raises(DataError, match='from 0 to 1'):
        checked(root, content)


def test_check_an_unreadable_home_costs_no_run(data, tmp_path, monkeypatch):
    root, content = data
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert checked(root, content).boxes == 120


def test_check_one_large_object_an_image_that_reaches_out_a_little_is_no_corner(data):
    root, content = data
    for index, box in enumerate(content['annotations']):
        box['bbox'] = [10, 10, 93 if index < 3 else 80, 65]
    assert checked(root, content).boxes == 120


def test_check_boxes_that_reach_out_of_the_image_are_no_corners(data):
    """As in data sets that mark the hidden parts of objects too."""
    root, content = data
    for box in content['annotations']:
        box['bbox'] = [80, 60, 60, 40]
    assert checked(root, content).boxes == 120


def test_check_what_the_evaluation_needs_is_filled_in(data):
    root, content = data
    for index, box in enumerate(content['annotations']):
        del box['iscrowd']
        box['area'] = 0  # mmdet drops such a box
        box['id'] = index  # pycocotools takes an id of 0 for "not found"
    boxes = checked(root, content).content['annotations']
    assert [box['id'] for box in boxes] == list(range(1, 121))
    assert all(box['area'] == 600 and box['iscrowd'] == 0 for box in boxes)


RENUMBERED = 'so all boxes are renumbered'


@pytest.mark.parametrize(('changes', 'notes'), [
    ({0: dict(id=0)}, [f'ids of boxes that are 0, {RENUMBERED}: 1 (id 0 of image 1)']),
    ({0: dict(id=0), 4: dict(id=-7)}, [f'ids of boxes that are 0, {RENUMBERED}: 1 (id 0 of image 1)',
                                       f'ids of boxes that are negative, {RENUMBERED}: 1 (id -7 of image 2)']),
    ({0: dict(id=None), 1: {}}, [f'ids of boxes that are missing, {RENUMBERED}: 1 (id None of image 1)']),
    ({3: dict(id='5')}, [f"ids of boxes that are not whole numbers, {RENUMBERED}: 1 (id '5' of image 2)"]),
    ({3: dict(id=2 ** 53)}, [f'ids of boxes that are too large, {RENUMBERED}: 1 (id {2 ** 53} of image 2)']),
    ({1: dict(id=3), 2: dict(id=3), 4: dict(id=6)}, [f'ids of boxes that several boxes share, {RENUMBERED}: 2 '
                                                     '(id 3, id 6)']),
    ({3: dict(area=-1), 4: dict(area=None)}, [
        'areas that were missing or not positive, computed from the box: 2 (id 6 of image 2, id 7 of image 2)']),
    ({3: dict(iscrowd=None)}, ['iscrowd that was missing, set to 0: 1 (id 6 of image 2)'])])
def test_fill_in_notes_name_what_was_wrong_and_nothing_else(data, changes, notes):
    boxes = data[1]['annotations']
    for index, change in changes.items():
        boxes[index] |= change
    before = copy.deepcopy(boxes)
    complete, made = fill_in(boxes)
    assert [note.to_text() for note in made] == notes
    assert boxes == before
    assert len(complete) == 120
    assert fill_in(complete) == (complete, [])


@pytest.mark.parametrize('id', [10 ** 400, 2 ** 53, True, 1.0, '5', [1], -1])
def test_check_box_ids_that_an_evaluation_cannot_use_are_numbered_anew(data, id):
    root, content = data
    content['annotations'][5]['id'] = id
    assert [box['id'] for box in checked(root, content).content['annotations']] == list(range(1, 121))


def test_check_box_ids_as_large_as_cocos_crowds_stay(data):
    root, content = data
    content['annotations'][5]['id'] = 908_800_474_295
    result = checked(root, content)
    assert (result.changed, result.content['annotations'][5]['id']) == (False, 908_800_474_295)


def test_check_image_of_another_size_than_recorded_is_pointed_out(data):
    root, content = data
    turned = Image.Exif()
    turned[ORIENTATION] = 6  # by its camera, and again when it is read: 80 wide, 100 high
    Image.new('RGB', (100, 80)).save(root / 'train2017/8.jpg', exif=turned)
    content['images'][7].update(width=80, height=100)
    for box in content['annotations'][21:24]:
        box['bbox'] = [5, 5, 30, 20]
    assert checked(root, content).notes == []
    content['images'][6].update(width=200, height=160)
    for _ in range(2):  # a remembered set is compared too
        assert '7.jpg is 100x80, its record says 200x160' in checked(root, content).summary()


def turn(root, content, numbers, orientation, size=(100, 80)):
    """Give images an orientation, and their records a size."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    for number in numbers:
        Image.new('RGB', (100, 80)).save(root / f'train2017/{number}.jpg', exif=exif)
        content['images'][number - 1].update(width=size[0], height=size[1])


def test_check_records_of_the_unturned_size_are_reported_and_refused_if_many(data):
    root, content = data
    turn(root, content, [3, 4], 6)
    (note,) = checked(root, content).notes
    assert note.count == 2
    assert note.names[0] == '3.jpg is 80x100, its record says 100x80'
    assert '--ignore-orientation' in note.what
    assert checked(root, content, upright=False).notes == []
    turn(root, content, [3, 4], 6, (80, 100))
    (note,) = checked(root, content, upright=False).notes  # the records are right, and the option is wrong
    assert (note.count, note.names[0]) == (2, '3.jpg is 100x80, its record says 80x100')
    turn(root, content, range(1, 10), 6)
    with pytest.raises(DataError, match=r'9 of 40 images are turned by 90 degrees.*use --ignore-orientation'):
        checked(root, content)
    assert checked(root, content, upright=False).notes == []


def test_check_a_turned_image_whose_record_has_no_size_is_counted(data):
    """Its size comes from the file, so it cannot show how its boxes were drawn."""
    root, content = data
    turn(root, content, [3, 4], 6, (80, 100))
    for image in content['images'][2:4]:
        image['size_from_file'] = True
    for box in content['annotations']:
        box['bbox'] = [5, 5, 30, 20]
    (note,) = checked(root, content).notes
    assert note.names == ('3.jpg', '4.jpg')


@pytest.mark.parametrize('orientation', [2, 3, 4])
def test_check_images_that_are_turned_by_180_degrees_are_counted(orientation, data):
    root, content = data
    turn(root, content, [5, 6, 7, 8, 9, 10], orientation)
    (note,) = checked(root, content).notes
    assert (note.count, note.names) == (6, ('5.jpg', '6.jpg', '7.jpg', '8.jpg', '9.jpg'))
    assert 'turned by 180 degrees, mirrored' in note.what
    assert note.to_text().endswith(': 6 (5.jpg, 6.jpg, 7.jpg, 8.jpg, 9.jpg, ...)')


def test_check_rare_classes_are_named(data):
    root, content = data
    content['categories'] += [dict(id=3, name='owl'), dict(id=4, name='ox')]
    content['annotations'][0]['category_id'] = 4
    assert [note.to_text() for note in checked(root, content).notes] == [
        'classes without a box: 1 (owl)', 'classes with fewer than 10 boxes: 1 (ox 1)']


def test_check_classes_that_differ_by_case_alone_are_named(data):
    root, content = data
    name = content['categories'][0]['name']
    content['categories'][1]['name'] = f'{name.upper()} '
    notes = [note.to_text() for note in checked(root, content).notes]
    assert f'ATTENTION: classes whose names differ only by case or spaces: 1 ({name} and {name.upper()} )' in notes


def test_check_a_missing_image_is_reported_with_the_closest_names(data):
    root, content = data
    for name in ('street_0001.jpg', 'street_0002.jpg', 'deep/street_0003.png', 'boat.jpg', 'street_0004.txt'):
        (root / 'train2017' / name).parent.mkdir(exist_ok=True)
        (root / 'train2017' / name).write_bytes(b'')
    content['images'][0]['file_name'] = 'photos/Street_001.jpg'
    with pytest.raises(DataError) as error:
        checked(root, content)
    reported = next(line for line in str(error.value).splitlines() if 'is missing' in line)
    assert set(reported.split('the closest names there: ')[1].split(', ')) == {
        'street_0001.jpg', 'street_0002.jpg', 'deep/street_0003.png'}


# --------------------------------------------------------------------------------------------------------------- memory

def test_check_unchanged_good_images_are_not_opened_again(data, monkeypatch):
    root, content = data
    checked(root, content)
    opened = []
    monkeypatch.setattr(headers, 'read_header', lambda file: opened.append(file) or Header(100, 80))
    checked(root, content)
    assert opened == []
    Image.new('RGB', (100, 80)).save(root / 'train2017/7.jpg')
    checked(root, content)
    assert len(opened) == 40


def test_check_a_bad_set_is_not_remembered_as_good(data):
    root, content = data
    image_header_broken(root, content)
    for _ in range(2):
        with pytest.raises(DataError, match='does not open'):
            checked(root, copy.deepcopy(content))
