"""Objects that are marked as crowd regions are named, and taken as objects on request."""
import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as masks

from ghostdet.data.checked import Source
from ghostdet.data.coco import Split
from ghostdet.data.crowds import as_objects, is_crowd, suspect_crowds
from ghostdet.data.overview import overview
from ghostdet.data.sources import crowds_as_objects, find_sources, part_of
from ghostdet.errors import DataError
from tests.real_images import COCO128
from tests.unit.data.test_voc import thing, xml

POLYGON = [[10, 10, 30, 10, 30, 30]]


def annotation(number, **fields):
    return dict(dict(id=number, image_id=1 + number % 7, category_id=1 + number % 3, bbox=[10, 10, 20, 20], area=400,
                     iscrowd=0, segmentation=POLYGON), **fields)


def mask(*pieces, size=(40, 50), compressed=False):
    """A run-length mask of rectangles (x, y, width, height)."""
    pixels = np.zeros(size, np.uint8, order='F')
    for x, y, width, height in pieces:
        pixels[y:y + height, x:x + width] = 1
    if compressed:
        encoded = masks.encode(pixels)
        return dict(encoded, counts=encoded['counts'].decode())
    flat = np.concatenate([[0], pixels.ravel('F'), [2]])
    borders = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], borders])).tolist()
    return dict(size=list(size), counts=counts)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A function that makes a train split of seven images from annotations."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for number in range(1, 8):
        Image.new('RGB', (50, 40), (number, 0, 0)).save(tmp_path / f'{number}.png')
    images = [dict(id=number, file_name=f'{number}.png', width=50, height=40) for number in range(1, 8)]
    categories = [dict(id=number, name=name) for number, name in enumerate(('cat', 'dog', 'owl'), 1)]
    return lambda annotations: Source(Split('train', tmp_path / 'train.json', tmp_path), dict(
        images=images, annotations=annotations, categories=categories))


@pytest.fixture
def half(source):
    """63 annotations, every second of which is marked as a crowd region."""
    return source([annotation(number, iscrowd=int(number % 2 == 0)) for number in range(1, 64)])


def texts(notes):
    return [note.to_text() for note in notes]


# ----------------------------------------------------------------------------------------------------------- the check

def test_check_counts_crowd_regions_and_names_those_that_look_like_objects(half):
    result = half.check()
    assert '7 images, 32 boxes, 31 crowd regions, 3 classes' in result.summary()
    (text,) = texts(result.notes)
    assert text.startswith('ATTENTION: crowd regions (iscrowd 1) that look like single objects, of 31 crowd regions')
    assert '--crowds-are-objects' in text
    assert text.endswith(': 31 (id 2 of image 3, id 4 of image 5, id 6 of image 7, id 8 of image 2, id 10 of image 4, '
                         '...)')


def test_overview_counts_crowd_regions_by_class(half):
    lines = overview(half.check()).splitlines()
    assert lines[0] == 'train: 7 images (0 without a box), 32 boxes, 31 crowd regions'
    assert [line.split() for line in lines[1:5]] == [
        ['class', 'boxes', 'images', 'small', 'medium', 'large', 'crowd'],
        *([name, boxes, '7', boxes, '0', '0', crowd]
          for name, boxes, crowd in (('cat', '11', '10'), ('dog', '11', '10'), ('owl', '10', '11')))]


def test_crowds_as_objects_gives_all_boxes(half):
    before = copy.deepcopy(half.content)
    result = crowds_as_objects(half).check()
    assert (result.boxes, result.changed) == (63, True)
    assert '63 boxes, 3 classes' in result.summary()
    (text,) = texts(result.notes)
    assert text.startswith('crowd regions, taken as objects because of --crowds-are-objects: 31 (id 2 of image 3,')
    assert half.content == before
    assert sum(part_of(result, name, 0.3).boxes for name in ('train', 'val')) == 63


def test_crowds_as_objects_without_a_crowd_region_changes_nothing(source):
    given = source([annotation(number) for number in range(1, 64)])
    assert crowds_as_objects(given).content == given.content
    assert crowds_as_objects(given).notes == []


def test_check_a_split_of_crowd_regions_alone_names_the_option(source):
    with pytest.raises(DataError, match=r'has no boxes.* All 5 annotations are crowd regions.*--crowds-are-objects'):
        source([annotation(number, iscrowd=1) for number in range(1, 6)]).check()
    with pytest.raises(DataError, match='has no boxes') as error:
        source([]).check()
    assert 'crowd regions' not in str(error.value)
    with pytest.raises(DataError, match='has no boxes') as error:
        source([annotation(1, iscrowd=1, difficult=1), annotation(2, iscrowd=1)]).check()
    assert 'crowd regions' not in str(error.value)


def test_difficult_objects_of_pascal_voc_are_counted_and_stay(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for folder in ('Annotations', 'JPEGImages'):
        (tmp_path / 'voc' / folder).mkdir(parents=True)
    Image.new('RGB', (100, 80)).save(tmp_path / 'voc/JPEGImages/a.png')
    things = [thing('cat', (11, 21, 40, 60)), *(thing('cat', (1, 1, 10 + k, 20), difficult=1) for k in range(3))]
    (tmp_path / 'voc/Annotations/a.xml').write_text(xml(*things, filename='a.png'))
    source = find_sources(tmp_path / 'voc')['train']()
    for one in (source, crowds_as_objects(source)):
        result = one.check()
        assert '1 images, 1 boxes, 3 difficult objects, 1 classes' in result.summary()
        assert 'crowd regions' not in result.summary()
        assert overview(result).splitlines()[2].split() == ['cat', '1', '1', '0', '1', '0', '3']


# ------------------------------------------------------------------------------------------------------ what is suspect

OBJECTS = [annotation(number, category_id=1) for number in range(10, 30)]
ONE, TWO, CORNERS = (10, 10, 20, 20), (35, 30, 5, 5), (30, 30, 5, 5)


@pytest.mark.parametrize(('fields', 'suspect'), [
    (dict(segmentation=POLYGON), True), (dict(segmentation=POLYGON * 2), False), (dict(segmentation=[]), True),
    (dict(segmentation=None), True), (dict(segmentation='text'), False),
    (dict(segmentation=mask(ONE)), True), (dict(segmentation=mask(ONE, compressed=True)), True),
    (dict(segmentation=mask(ONE, TWO)), False), (dict(segmentation=mask(ONE, TWO, compressed=True)), False),
    (dict(segmentation=mask(ONE, CORNERS)), True),  # they touch at a corner
    (dict(segmentation=mask()), False), (dict(segmentation=dict(size=[4, 5], counts=[1, 20])), False),
    (dict(segmentation=dict(size=[2 ** 20, 2 ** 20], counts=[2 ** 40 - 1, 1])), False),
    (dict(segmentation=dict(size=[0, 20], counts='')), False),
    (dict(segmentation=dict(size=[-4, -5], counts='')), False),
    (dict(segmentation=dict(size='text')), False), (dict(segmentation={}), True),
    (dict(bbox=[0, 0, 40, 40]), True), (dict(bbox=[0, 0, 40, 40.1]), False),  # four times the median, and above
    (dict(difficult=1), False), (dict(iscrowd=0), False)], ids=str)
def test_suspect_crowds_one_region_among_objects(fields, suspect):
    region = annotation(1, category_id=1, iscrowd=1) | fields
    given = [*OBJECTS, region, annotation(2, category_id=1, iscrowd=1, segmentation=POLYGON * 2)]
    before = copy.deepcopy(given)
    notes = suspect_crowds(given)
    assert [note.names for note in notes] == [('id 1 of image 2',)] * suspect
    assert given == before


def test_suspect_crowds_a_class_without_objects_is_compared_with_its_own_regions():
    sides = [10, 10, 10, 20, 100]
    regions = [annotation(number, category_id=2, iscrowd=1, bbox=[0, 0, side, side])
               for number, side in enumerate(sides, 1)]
    (note,) = suspect_crowds([*OBJECTS, *regions])
    assert note.names == tuple(f'id {number} of image {1 + number}' for number in (1, 2, 3, 4))


def test_suspect_crowds_more_than_half_are_named_whatever_they_look_like():
    regions = [annotation(number, category_id=1, iscrowd=1, segmentation=POLYGON * 2) for number in range(100, 121)]
    (note,) = suspect_crowds([*OBJECTS, *regions])
    assert note.what.startswith('ATTENTION: more than half of the 41 annotations are crowd regions')
    assert note.count == 21
    assert suspect_crowds([*OBJECTS, *regions[:20]]) == []


RECORDS = st.lists(st.fixed_dictionaries(dict(
    id=st.integers(), image_id=st.integers(1, 3), category_id=st.integers(1, 3), bbox=st.just([1, 2, 3, 4]),
    segmentation=st.sampled_from([None, [], POLYGON, POLYGON * 2]), iscrowd=st.sampled_from([0, 1, None, '1'])),
    optional=dict(difficult=st.sampled_from([0, 1]))) | st.sampled_from([None, 'text', 3]), max_size=8)


@given(RECORDS)
def test_as_objects_leaves_no_crowd_region_and_all_else(records):
    before = copy.deepcopy(records)
    changed, notes = as_objects(records)
    assert records == before
    crowds = [isinstance(box, dict) and is_crowd(box) for box in records]
    assert sum(note.count for note in notes) == sum(crowds)
    for old, new, crowd in zip(records, changed, crowds, strict=True):
        assert new == ({**old, 'iscrowd': 0} if crowd else old)
    assert not any(isinstance(box, dict) and is_crowd(box) for box in changed)
    assert as_objects(changed) == (changed, [])


@pytest.mark.skipif(not COCO128.is_dir(), reason=f'no images at {COCO128}; GHOSTDET_COCO128 names another folder')
def test_suspect_crowds_few_of_cocos_are_named():
    """One of ten: a bunch of umbrellas in one piece. It needs no attention."""
    (text,) = [text for text in texts(find_sources(COCO128)['train']().check().notes) if 'crowd' in text]
    assert text.startswith('crowd regions (iscrowd 1) that look like single objects, of 10 crowd regions')
    assert text.endswith(': 1 (id 902800000315 of image 315)')
