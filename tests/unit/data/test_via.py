"""Files of the VGG Image Annotator become COCO content, whichever version wrote them."""
import json
import math

import pytest

from ghostdet.data.recognise import recognise
from ghostdet.data.sources import find_sources
from ghostdet.data.via import read_via, via_classes, via_records
from ghostdet.errors import DataError
from tests.real_images import KUDZU
from tests.unit.data.test_as_people_have_it import SIZE, TRUTH, boxes, check, notes, root  # noqa: F401

RECT = dict(name='rect', x=10, y=20, width=30, height=40)


def region(shape=None, **attributes):
    return dict(shape_attributes=shape or RECT, region_attributes=attributes)


def record(name, *regions, as_dict=False):
    listed = {str(index): one for index, one in enumerate(regions)} if as_dict else list(regions)
    return {f'{name}123': dict(filename=name, size=123, regions=listed, file_attributes={})}


def truth(**options):
    """The records of what TRUTH holds."""
    shapes = {name: [region(dict(name='rect', x=x, y=y, width=w, height=h), kind=kind)
                     for kind, file, x, y, w, h in TRUTH if file == name] for name in ('a.png', 'b.png')}
    return {key: one for name, regions in shapes.items() for key, one in record(name, *regions, **options).items()}


def read(tmp_path, *regions):
    """Content, problems and notes of one image."""
    file = tmp_path / 'via.json'
    file.write_text(json.dumps(record('a.png', *regions)))
    records = via_records(file)
    return read_via(file, records, via_classes(records, tmp_path))


@pytest.mark.parametrize('content', [truth(), truth(as_dict=True),
                                     dict(_via_settings={}, _via_img_metadata=truth(), _via_attributes={})])
@pytest.mark.parametrize(('name', 'folder'), [('via.json', ''), ('train/export.json', 'train/'),
                                              ('annotations/via.json', 'images/'), ('via.json', 'images/')])
def test_via_in_every_form_and_place(root, content, name, folder):  # noqa: F811
    files = {name: content, f'{folder}a.png': None, f'{folder}b.png': None}
    assert recognise(root(files)).name == 'VGG VIA'
    checked = check(root(files))
    assert boxes(checked) == TRUTH
    assert {(image['width'], image['height']) for image in checked.content['images']} == {SIZE}
    assert checked.changed  # a run reads a copy in COCO's format


def test_via_classes_are_those_of_all_splits(root):  # noqa: F811
    files = {f'{split}/{split}.json': record('a.png', region(kind=kind))
             for split, kind in (('train', 'dog'), ('val', 'cat'))}
    folder = root(files | {'train/a.png': None, 'val/a.png': None})
    assert [check(folder, split).content['categories'] for split in ('train', 'val')] == [
        [dict(id=1, name='cat'), dict(id=2, name='dog')]] * 2


@pytest.mark.parametrize(('shape', 'box', 'area'), [
    (RECT, [10, 20, 30, 40], 1200), (dict(RECT, x=40, width=-30), [10, 20, 30, 40], 1200),
    (dict(name='circle', cx=50, cy=30, r=10.5), [39.5, 19.5, 21, 21], 441),
    (dict(name='ellipse', cx=50, cy=30, rx=20, ry=10), [30, 20, 40, 20], 800),
    (dict(name='ellipse', cx=50, cy=30, rx=20, ry=10, theta=math.pi / 2), [40, 10, 20, 40], 800),
    (dict(name='polygon', all_points_x=[10, 40, 40], all_points_y=[20, 20, 60]), [10, 20, 30, 40], 600),
    (dict(name='polyline', all_points_x=[40, 10], all_points_y=[20, 60]), [10, 20, 30, 40], 1200)])
def test_read_via_shapes(tmp_path, shape, box, area):
    content, problems, _ = read(tmp_path, region(shape, kind='cat'))
    (annotation,) = content['annotations']
    assert annotation['bbox'] == pytest.approx(box)
    assert annotation['area'] == pytest.approx(area)
    assert problems == []
    outline = [[10, 20, 40, 20, 40, 60]] if shape['name'] == 'polygon' else None
    assert annotation.get('segmentation') == outline


@pytest.mark.parametrize(('shape', 'problem'), [
    (dict(name='point', cx=1, cy=2), "is a 'point', which has no box"), (dict(RECT, width=0), 'has no area'),
    (dict(RECT, x='a'), "has 'a', which is not a number"),
    (dict(name='rect', x=1), 'is missing'), (dict(RECT, y=float('nan')), 'not a number'),
    (dict(name='polygon', all_points_x=[1, 2], all_points_y=[1, 2]), 'polygon of 2 points'),
    (dict(name='polygon', all_points_x=[1, 2, 3], all_points_y=[1]), 'has 3 x and 1 y'),
    (dict(name='polygon'), 'has 0 x and 0 y'), ({'x': 1}, 'which has no box')])
def test_read_via_a_region_that_is_wrong_is_listed_and_the_others_stay(tmp_path, shape, problem):
    content, problems, _ = read(tmp_path, region(kind='cat'), region(shape, kind='cat'), region(kind='cat'))
    assert [box['id'] for box in content['annotations']] == [1, 2]
    assert [entry['where'].rpartition('/')[2] for entry in problems] == ['via.json, a.png, region 2']
    assert problem in problems[0]['problem']


@pytest.mark.parametrize(('attributes', 'attribute', 'names'), [
    ([dict(insect='a'), {}], 'insect', ('a',)), ([dict(one='a', two='a'), dict(one='b', two='b')], 'one', ('a', 'b')),
    ([dict(note='x', Label='cat')], 'Label', ('cat',)), ([dict(type='x', CLASS='cat')], 'CLASS', ('cat',)),
    ([dict(kind={'cat': True, 'dog': False}), dict(kind='dog')], 'kind', ('cat', 'dog')),
    ([dict(kind='cat', note='')], 'kind', ('cat',)), ([{}], None, ('object',)), ([dict(kind='')], None, ('object',)),
    ([dict(kind=3)], 'kind', ('3',))])
def test_via_classes_which_attribute_is_the_class(tmp_path, attributes, attribute, names):
    records = [dict(filename='a.png', regions=[region(**one) for one in attributes])]
    found = via_classes(records, tmp_path)
    assert (found.attribute, found.names) == (attribute, names)
    assert set(found.others) == {name for one in attributes for name, value in one.items()
                                 if value in ('x',) and name != attribute}


def test_via_classes_several_attributes_are_named(tmp_path):
    with pytest.raises(DataError, match=r'several attributes, colour, size, .*name the one that is the class "class"'):
        read(tmp_path, region(colour='red', size='big'))


def test_read_via_regions_without_a_class(tmp_path):
    """They are of the only class, and a problem if there are two; so are those with two."""
    content, problems, (remark,) = read(tmp_path, region(kind='cat'), region())
    assert ([box['category_id'] for box in content['annotations']], problems) == ([1, 1], [])
    assert remark.to_text() == 'regions without a class, taken as "cat", the only one: 1 (a.png, region 2)'
    content, problems, _ = read(tmp_path, region(kind='cat'), region(), region(kind={'cat': True, 'dog': True}), 3)
    assert len(content['annotations']) == 1
    assert [entry['problem'] for entry in problems] == [
        'has nothing as kind: expected one class', 'has cat and dog as kind: expected one class',
        'is not a record: 3']


def test_via_without_any_attribute_has_one_class_and_says_so(root):  # noqa: F811
    checked = check(root({'via.json': record('a.png', region()), 'a.png': None}))
    assert boxes(checked) == [('object', 'a.png', 10, 20, 30, 40)]
    assert 'regions without a class, taken as "object", the only one: 1' in notes(checked)


@pytest.mark.parametrize(('files', 'message'), [
    ({'via.json': '{"a": {"filename": "a.png", "regions": 3}}'}, 'is not a file of the VGG Image Annotator'),
    ({'via.json': '{"a": {"filename": "a.png", "regions": []'}, 'is not valid JSON'),
    ({'via.json': record('gone.png', region())}, r'such as gone\.png.*Put them beside the JSON file'),
    ({'train/1.json': truth(), 'train/2.json': truth()}, r'several JSON files of VGG VIA: 1\.json, 2\.json'),
    ({'via.json': truth(), 'coco.json': '{"images": []}'}, 'several layouts: VGG VIA and COCO files')])
def test_via_that_cannot_be_read_is_refused(root, files, message):  # noqa: F811
    with pytest.raises(DataError, match=message):
        check(root(files))


@pytest.mark.skipif(not KUDZU.is_dir(), reason=f'the kudzu bugs are not in {KUDZU}')
def test_via_kudzu_has_every_box(tmp_path, monkeypatch):
    """Its two attributes have the same value in train; val has none."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    for split, count in (('train', 24), ('val', 16)):
        wanted = {}
        for one in json.loads((KUDZU / split / 'via_region_data.json').read_text()).values():
            points = [(shape['shape_attributes']['all_points_x'], shape['shape_attributes']['all_points_y'])
                      for shape in one['regions']]
            wanted[one['filename']] = [[min(x), min(y), max(x) - min(x), max(y) - min(y)] for x, y in points]
        checked = find_sources(KUDZU)[split]().check()
        files = {image['id']: image['file_name'] for image in checked.content['images']}
        found = {name: [] for name in files.values()}
        for box in checked.content['annotations']:
            found[files[box['image_id']]].append(box['bbox'])
        assert (len(files), checked.bad, checked.dropped) == (count, [], [])
        assert found == wanted
        assert [category['name'] for category in checked.content['categories']] == ['kudzu']
