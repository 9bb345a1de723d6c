"""Pascal VOC's XML files become COCO content; what is wrong in them is listed, never raised and never lost."""
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from ghostdet.data.voc import read_voc, voc_classes, voc_splits
from ghostdet.errors import DataError
from tests.conftest import examples
from tests.real_images import BCCD

needs_bccd = pytest.mark.skipif(not BCCD.is_dir(), reason=f'BCCD is not in {BCCD}')


def thing(name='cat', box=(11, 21, 30, 60), difficult=None):
    corners = ''.join(f'<{key}>{value}</{key}>' for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box))
    marked = '' if difficult is None else f'<difficult>{difficult}</difficult>'
    return f'<object><name>{name}</name>{marked}<bndbox>{corners}</bndbox></object>'


def xml(*things, filename='a.jpg', size='<size><width>100</width><height>80</height><depth>3</depth></size>'):
    return f'<annotation><filename>{filename}</filename>{size}{"".join(things)}</annotation>'


@pytest.fixture
def root(tmp_path):
    """A function that writes XML files, images (empty files) and lists, and returns the folder."""
    def write(files, images=(), lists=()):
        for folder in ('Annotations', 'JPEGImages'):
            (tmp_path / folder).mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / f'Annotations/{name}.xml').write_bytes(text if isinstance(text, bytes) else text.encode())
        for name in images:
            (tmp_path / 'JPEGImages' / name).touch()
        for name, text in dict(lists).items():
            (tmp_path / 'ImageSets/Main').mkdir(parents=True, exist_ok=True)
            (tmp_path / f'ImageSets/Main/{name}.txt').write_text(text)
        return tmp_path
    return write


def read(root, names, classes=None):
    return read_voc(root, names, voc_classes(root) if classes is None else classes)


def boxes_of(root, *things, classes=None):
    content, problems = read(root({'a': xml(*things)}, ['a.jpg']), ['a'], classes)
    return content['annotations'], problems


# --------------------------------------------------------------------------------------------------------------- splits

def test_voc_splits_lists_are_splits_but_lists_of_one_class_are_not(root):
    lists = dict(train='a\r\n\r\nb.jpg\na\n', val='2007.000032\n', cat_train='a 1\nb -1\nc  0\n', empty='\n')
    files = dict.fromkeys(['a', 'b', '2007.000032'], xml())
    assert voc_splits(root(files, lists=lists)) == dict(train=['a', 'b'], val=['2007.000032'])


def test_voc_splits_an_image_name_may_end_in_a_number(root):
    assert voc_splits(root(dict.fromkeys(['cell 1', 'cell 0'], xml()), lists=dict(val='cell 1\ncell 0\n'))) == dict(
        val=['cell 1', 'cell 0'])


def test_voc_splits_without_lists_all_are_for_training(root, tmp_path):
    assert voc_splits(root(dict(b=xml(), a=xml()))) == dict(train=['a', 'b'])
    with pytest.raises(DataError, match=r'expected XML files in .*Annotations'):
        voc_splits(tmp_path / 'JPEGImages')


def test_voc_splits_a_list_that_is_not_text_is_named(root):
    folder = root(dict(a=xml()), lists=dict(train='a'))
    (folder / 'ImageSets/Main/train.txt').write_bytes(b'\xff\xfe\xfa')
    with pytest.raises(DataError, match=r'train\.txt cannot be read'):
        voc_splits(folder)


# ---------------------------------------------------------------------------------------------------------------- boxes

def test_read_voc_corners_count_from_1_and_belong_to_the_box(root):
    boxes, problems = boxes_of(root, thing(box=(1, 1, 100, 80)), thing(box=(11, 21, 30, 60)),
                               thing(box=(10.5, 20, 20.5, 40)))
    assert [box['bbox'] for box in boxes] == [[0, 0, 100, 80], [10, 20, 20, 40], [9.5, 19, 11, 21]]
    assert [box['area'] for box in boxes] == [8000, 800, 231]
    assert not problems


def test_read_voc_a_corner_at_0_counts_as_1_and_one_outside_stays_there(root):
    boxes, _ = boxes_of(root, thing(box=(0, 0.5, 50, 40)), thing(box=(-4, -9, 50, 40)))
    assert [box['bbox'] for box in boxes] == [[0, 0, 50, 40], [-5, -10, 55, 50]]


def test_read_voc_a_difficult_object_is_a_crowd(root):
    boxes, _ = boxes_of(root, thing(), thing(difficult=0), thing(difficult=1))
    assert [(box['iscrowd'], box.get('difficult')) for box in boxes] == [(0, None), (0, None), (1, 1)]


@pytest.mark.parametrize(('wrong', 'problem'), [
    (thing(box=(5, 5, 5, 5)), 'no area: xmin 5, ymin 5, xmax 5, ymax 5'), (thing(box=(9, 5, 8, 20)), 'no area'),
    (thing(box=(5, 20, 8, 20)), 'no area'), (thing(box=('nan', 1, 2, 3)), "xmin 'nan', which is not a number"),
    (thing(box=(1, 'inf', 2, 3)), 'ymin'), (thing(box=('-inf', 1, 2, 3)), "'-inf', which is not a number"),
    (thing(box=(1, 2, '3px', 3)), "xmax '3px'"), (thing(box=(1, 2, 3)), 'has no ymax'),
    ('<object><name>cat</name></object>', 'no bndbox'),
    (thing().replace('</object>', thing().partition('</name>')[2]), 'has 2 bndbox: expected one'),
    (thing(name=''), 'no name'), (thing(name=' '), 'no name'),
    (thing(name='cow'), "class 'cow', which is not one of the classes"),
    (thing(box=('9' * 400, 1, 2, 3)), 'not a number')])
def test_read_voc_an_object_that_is_wrong_is_listed_and_the_others_stay(root, wrong, problem):
    boxes, problems = boxes_of(root, thing(), wrong, thing(), classes=('dog', 'cat'))
    assert [box['id'] for box in boxes] == [1, 2]
    assert {box['category_id'] for box in boxes} == {2}
    assert [entry['where'].rsplit('/', 1)[1] for entry in problems] == ['a.xml, object 2']
    assert problem in problems[0]['problem']
    assert set(problems[0]['record']) == {'name', 'xmin', 'ymin', 'xmax', 'ymax'}


BILLION = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(('text', 'problem'), [
    ('<annotation><object>', 'not valid XML'), ('', 'not valid XML'),
    ('<?xml version="1.0" encoding="gbk"?><a/>', 'not valid XML'),
    ('<?xml version="1.0" encoding="no-such"?><a/>', 'not valid XML'), (b'\xff\xfe\x00\x01', 'not valid XML'),
    (BILLION + '<annotation>&c;</annotation>', 'DOCTYPE'), ((BILLION + '<a/>').encode('utf-16'), 'DOCTYPE'),
    ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 'DOCTYPE'), (None, 'the XML file is missing')])
def test_read_voc_a_damaged_file_is_listed_and_its_image_left_out(root, text, problem):
    folder = root(dict(good=xml(thing())) | (dict(bad=text) if text is not None else {}), ['good.jpg', 'bad.jpg'])
    content, problems = read(folder, ['bad', 'good'])
    assert [image['file_name'] for image in content['images']] == ['JPEGImages/good.jpg']
    assert [(entry['where'], entry['record']) for entry in problems] == [(str(folder / 'Annotations/bad.xml'), 'bad')]
    assert problem in problems[0]['problem']
    assert voc_classes(folder) == ('cat',)


@pytest.mark.parametrize('text', [
    f'<annotation><objects>{thing()}{thing()}</objects></annotation>', xml(thing(), thing().replace('object', 'obj')),
    xml(thing().replace('<name>', thing() + '<name>')), f'<set>{xml(thing())}</set>'])
def test_read_voc_objects_elsewhere_are_not_lost(root, text):
    content, problems = read(root(dict(a=text), ['a.jpg']), ['a'])
    assert (content['images'], content['annotations']) == ([], [])
    assert 'elsewhere than in Pascal VOC' in problems[0]['problem']


def test_read_voc_a_part_of_an_object_has_a_box_of_its_own(root):
    part = '<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>'
    boxes, problems = boxes_of(root, thing().replace('</object>', part + '</object>'))
    assert ([box['bbox'] for box in boxes], problems) == ([[10, 20, 20, 40]], [])


def test_read_voc_other_encodings_are_read(root):
    text = xml(thing(name='Kätzchen'))
    content, problems = read(root(dict(a=text.encode('utf-16'),
                                           b=('<?xml version="1.0" encoding="latin-1"?>' + text).encode(
        'latin-1'))), ['a'])
    assert [category['name'] for category in content['categories']] == ['Kätzchen']
    assert not problems


def test_read_voc_classes_are_in_the_given_order(root):
    folder = root(dict(a=xml(thing('dog'), thing('cat')), b=xml(thing('ant'))))
    assert read(folder, ['a'], ('dog', 'cat'))[0]['categories'] == [dict(id=1, name='dog'), dict(id=2, name='cat')]
    assert voc_classes(folder) == ('ant', 'cat', 'dog')


# ------------------------------------------------------------------------------------------------------------- images

@pytest.mark.parametrize(('filename', 'images', 'found'), [
    ('a.jpg', ['a.jpg'], 'a.jpg'), ('other.png', ['other.png'], 'other.png'), ('gone.jpg', ['a.JPG'], 'a.JPG'),
    ('', ['a.webp'], 'a.webp'), ('other', ['other.png'], 'other.png'), ('D:\\set\\x.jpg', ['x.jpg'], 'x.jpg'),
    ('../../x.jpg', ['x.jpg'], 'x.jpg'), ('copied.jpg', ['copied.jpg', 'a.jpg'], 'a.jpg'), ('gone.jpg', [], 'gone.jpg'),
    ('', [], 'a.jpg'), ('', ['a.txt'], 'a.jpg')])
def test_read_voc_where_the_image_is_found(root, filename, images, found):
    content, problems = read(root(dict(a=xml(filename=filename)), images), ['a'])
    assert [image['file_name'] for image in content['images']] == [f'JPEGImages/{found}']
    assert not problems


def test_read_voc_two_files_do_not_share_an_image(root):
    content, problems = read(root(dict(a=xml(filename='x.jpg'), b=xml(thing(), filename='x.jpg')), ['x.jpg']),
                                 ['a', 'b'])
    assert len(content['images']) == 1
    assert not content['annotations']
    assert 'correct its <filename>' in problems[0]['problem']


@pytest.mark.parametrize(('size', 'sides'), [
    ('<size><width>100</width><height>80.0</height></size>', (100, 80)), ('', (0, 0)),
    ('<size><width>nan</width><height>-5</height></size>', (0, 0)),
    ('<size><width>x</width><height>1.5</height></size>', (0, 0)),
    ('<size><width>0</width><height>1e99</height></size>', (0, 0))])
def test_read_voc_a_size_that_is_not_sane_is_0(root, size, sides):
    (image,) = read(root(dict(a=xml(size=size))), ['a'])[0]['images']
    assert (image['width'], image['height']) == sides


def test_voc_splits_folders_in_small_letters_and_test_images_without_boxes(tmp_path):
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'images').mkdir()
    (tmp_path / 'annotations/a.xml').write_text(xml(thing()))
    (tmp_path / 'images/b.png').touch()
    assert voc_splits(tmp_path) == dict(train=['a'])
    content, problems = read(tmp_path, ['b', 'c'])
    assert [image['file_name'] for image in content['images']] == ['images/b.png', 'images/c.jpg']
    assert (content['annotations'], problems) == ([], [])


# ----------------------------------------------------------------------------------------------------------------- fuzz

VALUES = st.one_of(st.integers(-5, 200).map(str), st.floats().map(str),
                   st.text(st.characters(exclude_categories=['Cc', 'Cs']), max_size=8),
                   st.sampled_from(['', 'nan', '1e999', '1_0', '٣', '-0']))


@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(things=st.lists(st.tuples(VALUES, st.tuples(VALUES, VALUES, VALUES, VALUES), VALUES), max_size=4), sides=VALUES,
       cut_at=st.none() | st.integers(0, 300))
def test_read_voc_any_fields_give_boxes_or_problems(root, things, sides, cut_at):
    body = [thing(escape(name), [escape(value) for value in box], escape(difficult)) for name, box, difficult in things]
    text = xml(*body, size=f'<size><width>{escape(sides)}</width><height>9</height></size>')
    content, problems = read(root(dict(a=text.encode('utf-8', 'replace')[:cut_at]), ['a.jpg']), ['a'])
    if content['images']:
        assert len(content['annotations']) + len(problems) == len(things)
    else:
        assert len(problems) == 1
    assert all(min(box['bbox'][2:]) > 0 and max(map(abs, box['bbox'])) < 2e9 for box in content['annotations'])
    assert all(entry['where'] and entry['problem'] and entry['record'] for entry in problems)


# ----------------------------------------------------------------------------------------------------------------- BCCD

@needs_bccd
def test_voc_splits_bccd_is_read_as_published():
    splits = voc_splits(BCCD)
    assert {split: len(names) for split, names in splits.items()} == dict(train=205, val=87, trainval=292, test=72)
    parts = [read(BCCD, splits[split], voc_classes(BCCD)) for split in ('trainval', 'test')]
    boxes = [box for content, _ in parts for box in content['annotations']]
    problems = [entry for _, problems in parts for entry in problems]
    assert [category['name'] for category in parts[0][0]['categories']] == ['Platelets', 'RBC', 'WBC']
    assert [sum(box['category_id'] == index for box in boxes) for index in (1, 2, 3)] == [361, 4153, 372]
    assert sorted(entry['where'].rsplit('/', 1)[1] for entry in problems) == ['BloodImage_00338.xml, object 13',
                                                                               'BloodImage_00343.xml, object 4']
    assert all('no area' in entry['problem'] for entry in problems)


@needs_bccd
def test_read_voc_bccd_boxes_reach_the_edges_of_their_images_and_do_not_leave_them():
    """Many of its boxes have a corner at 1 or at the image's size, none at 0: it counts from 1, with the last pixel."""
    content, _ = read(BCCD, voc_splits(BCCD)['trainval'])
    assert all(min(box['bbox'][:2]) >= 0 for box in content['annotations'])
    right = [box['bbox'][0] + box['bbox'][2] for box in content['annotations']]
    assert max(right) == 640
    assert right.count(640) > 100
    first = next(image for image in content['images'] if image['file_name'] == 'JPEGImages/BloodImage_00000.jpg')
    box = next(box for box in content['annotations'] if box['image_id'] == first['id'])
    # corners 260, 177, 491, 376
    assert (first['width'], first['height'], box['bbox']) == (640, 480, [259, 176, 232, 200])
