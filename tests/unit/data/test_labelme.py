"""Files of labelme become COCO content; what is wrong in them is listed, never raised and never lost."""
import json

import pytest

from ghostdet.data.labelme import labelme_classes, parse_labelme, read_labelme
from ghostdet.data.recognise import recognise
from ghostdet.errors import DataError
from tests.unit.data.test_as_people_have_it import TRUTH, boxes, check, root  # noqa: F401


def shape(points=((10, 20), (40, 60)), kind='rectangle', label='cat', **more):
    return dict(label=label, points=points, shape_type=kind, group_id=None, flags={}, **more)


def file(name, *shapes, **more):
    return dict(version='5', flags={}, shapes=shapes, imagePath=name, imageData=None, imageHeight=64, imageWidth=96,
                **more)


def truth(path='{}'):
    """The files of what TRUTH holds."""
    return {name: file(path.format(f'{name}.png'), *(shape([(x + w, y), (x, y + h)], label=kind)
                                                     for kind, image, x, y, w, h in TRUTH if image == f'{name}.png'))
            for name in 'ab'}


def read(tmp_path, *shapes):
    """Boxes and problems of one image."""
    name = tmp_path / 'a.json'
    name.write_text(json.dumps(file('a.png', *shapes)))
    parsed = parse_labelme(dict(train=[name]))
    content, problems = read_labelme(tmp_path, [name], parsed, labelme_classes(parsed))
    return content['annotations'], problems


@pytest.mark.parametrize(('where', 'images', 'path'), [
    ('', '', '{}'), ('train/', 'train/', '{}'), ('annotations/', 'images/', '../images/{}'),
    ('annotations/', 'images/', '{}'), ('labels/train/', 'images/train/', r'C:\old\{}'), ('json/', '', '{}'),
    ('train/json/', 'train/images/', '{}'), ('train/labels/', 'train/', '..\\{}'), ('', 'pictures/', '{}')])
def test_labelme_in_every_place(root, where, images, path):  # noqa: F811
    files = {f'{where}{name}.json': content for name, content in truth(path).items()}
    folder = root(files | {f'{images}{name}.png': None for name in 'ab'})
    layout = recognise(folder)
    assert (layout.name, layout.splits) == ('labelme', ('train',))
    checked = check(folder)
    assert boxes(checked) == TRUTH
    assert checked.changed  # a run reads a copy in COCO's format


def test_labelme_splits_number_their_classes_alike_and_keep_to_their_own_images(root):  # noqa: F811
    files = {f'{split}/a.json': file('a.png', shape(label=label))
             for split, label in (('train', 'dog'), ('val', 'cat'))}
    folder = root(files | {'train/a.png': None, 'val/a.png': None})
    for split, label in (('train', 'dog'), ('val', 'cat')):
        checked = check(folder, split)
        assert [category['name'] for category in checked.content['categories']] == ['cat', 'dog']
        assert boxes(checked) == [(label, 'a.png', 10, 20, 30, 40)]
        assert [image['file_name'] for image in checked.content['images']] == [f'{split}/a.png']


@pytest.mark.parametrize(('one', 'box', 'area'), [
    (shape([(40, 60), (10, 20)]), [10, 20, 30, 40], 1200),
    (shape([(10, 20), (40, 20), (40, 60), (10, 60)]), [10, 20, 30, 40], 1200),
    (shape([(10, 20), (40, 20), (40, 60)], 'polygon'), [10, 20, 30, 40], 600),
    (shape([(10, 20), (40, 20), (40, 60)], None), [10, 20, 30, 40], 600),
    (shape([(50, 30), (53, 34)], 'circle'), [45, 25, 10, 10], 100)])
def test_read_labelme_shapes(tmp_path, one, box, area):
    (annotation,), problems = read(tmp_path, one)
    assert (annotation['bbox'], annotation['area'], problems) == (box, area, [])


def test_read_labelme_parts_of_one_object_have_one_box(tmp_path):
    """Those of a group with one label; 0 is a group, None is not."""
    outline = [(10, 20), (20, 20), (20, 30)]
    parts = [shape(outline, 'polygon'), shape([(70, 50), (80, 50), (80, 60)], 'polygon'), shape(label='dog'),
             shape([(0, 0), (5, 5)]), shape([(1, 1), (6, 7)])]
    for part in parts[:3]:
        part['group_id'] = 0
    annotations, problems = read(tmp_path, *parts)
    assert [(box['category_id'], box['bbox'], box['area']) for box in annotations] == [
        (1, [10, 20, 70, 40], 100), (2, [10, 20, 30, 40], 1200), (1, [0, 0, 5, 5], 25), (1, [1, 1, 5, 6], 30)]
    assert len(annotations[0]['segmentation']) == 2
    assert problems == []


@pytest.mark.parametrize(('one', 'problem'), [
    (shape(kind='line'), "is a 'line', which has no box"), (shape([(1, 1)], 'point'), "'point', which has no box"),
    (shape(kind='mask'), "'mask', which has no box"), (shape([(5, 5), (5, 9)]), 'has no area'),
    (shape([(5, 5)], 'circle'), 'circle of 1 points'), (shape(label=''), 'has no label'), (7, 'has no label'),
    (shape(label=None), 'has no label'), (shape([]), 'not pairs of numbers'), (shape([(1, 2, 3)]), 'not pairs'),
    (shape([('a', 2), (3, 4)]), "has 'a', which is not a number"), (shape(None), 'not pairs of numbers'),
    (shape([(1, 1), (9, 9)], 'polygon'), 'polygon of 2 points')])
def test_read_labelme_a_shape_that_is_wrong_is_listed_and_the_others_stay(tmp_path, one, problem):
    annotations, problems = read(tmp_path, shape(), one, shape())
    assert [box['id'] for box in annotations] == [1, 2]
    assert [entry['where'].rpartition('/')[2] for entry in problems] == ['a.json, shape 2']
    assert problem in problems[0]['problem']


@pytest.mark.parametrize(('files', 'message'), [
    ({'c.json': file('a.png')}, 'c.json: belongs to the image a.png, as another JSON file does'),
    ({'c.json': '{"shapes": [], "imagePath"'}, 'is not valid JSON'), ({'c.json': {}}, 'is not a file of labelme'),
    ({'c.json': file('gone.png', shape())}, 'gone.png: the image file is missing')])
def test_labelme_a_file_that_is_wrong_is_a_bad_record(root, files, message):  # noqa: F811
    folder = root({f'{name}.json': content for name, content in truth().items()} | files
                  | {'a.png': None, 'b.png': None})
    with pytest.raises(DataError, match=message):
        check(folder)
    assert boxes(check(folder, skip_bad=True)) == TRUTH
