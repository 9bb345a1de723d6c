"""Detections become labels that our own readers read back, box for box."""
import json
import re
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from ghostdet.errors import ImageError, UserError
from ghostdet.images.headers import read_header
from ghostdet.infer.inputs import Source
from ghostdet.infer.label_files import FORMATS, MIN_SIDE, image_names
from tests.conftest import examples
from tests.label_folders import assert_same, detections, read
from tests.odd_images import saved

LETTERS = st.characters(categories=('L', 'M', 'N', 'P', 'S', 'Zs'))
NAMES = st.lists(st.text(LETTERS, min_size=1, max_size=12).map(str.strip).filter(bool), min_size=1, max_size=4,
                 unique_by=str.casefold)
PATHS = st.lists(st.tuples(st.sampled_from(['', 'a/', 'a b/', 'ä/']), st.text(LETTERS, min_size=1, max_size=30).map(
    lambda name: name.replace('/', '-')), st.sampled_from(['.jpg', '.PNG', '.webp', '.tif'])).map(''.join),
    min_size=1, max_size=4, unique=True)
SIDES = st.integers(8, 12_000)


def grey(width, height):
    """An image file of which only the header is there."""
    return f'P5 {width} {height} 255\n'.encode()


@st.composite
def labelled(draw):
    """Class names, and name -> ((width, height), boxes) of images; boxes as a detector clips them, or beyond."""
    classes, images = draw(NAMES), {}
    for name in draw(PATHS):
        width, height = draw(SIDES), draw(SIDES)
        corner = st.tuples(st.floats(-5, width, width=32), st.floats(-5, height, width=32))
        corners = st.tuples(st.integers(0, len(classes) - 1), corner, corner).map(lambda box: (
            box[0], min(box[1][0], box[2][0]), min(box[1][1], box[2][1]), max(box[1][0], box[2][0]) + 1,
            max(box[1][1], box[2][1]) + 1))
        images[name] = (width, height), draw(st.lists(corners, max_size=5))
    return classes, images


def clipped(boxes, classes, size):
    """What is expected of boxes."""
    for label, *corners in boxes:
        left, top, right, bottom = np.clip(np.float32(corners).astype(float), 0, size * 2).tolist()
        if right - left >= MIN_SIDE and bottom - top >= MIN_SIDE:
            yield classes[label], left, top, right, bottom


def write(kind, root, classes, images, content=grey):
    """Write labels; returns their folder, and stem -> boxes."""
    sources, expected = [], {}
    for number, (name, (size, _)) in enumerate(images.items()):
        file = root / f'{number}'
        file.write_bytes(content(*size))
        sources.append(Source(file, name))
    folder = root / 'out/labels'
    with FORMATS[kind](folder, sources, classes) as labels:
        for source in sources:
            size, boxes = images[source.name]
            labels.add(source, detections(boxes, classes, size[::-1]))
            expected[Path(labels.names[source.name]).stem] = list(clipped(boxes, classes, size))
    return folder, expected


@pytest.mark.parametrize('kind', FORMATS)
@given(labelled())
@examples(60)
@example((['a'], {'1.jpg': ((9, 9), []), 'b/1.PNG': ((12_000, 11_999), [(0, 11_998.5, 0, 12_000, 1.25)])}))
@example((['R<B&C>"', 'no', 'fire truck', '苹果: 1'], {'x y.jpg': ((64, 48), [(3, 1, 2, 3.125, 48), (0, 0, 0, 64, 48),
                                                                        (1, 0, 0, 9, 9), (2, 5, 5, 9, 9)])}))
def test_labels_are_read_back_to_a_hundredth_of_a_pixel(kind, drawn):
    classes, images = drawn
    with tempfile.TemporaryDirectory() as root:
        folder, expected = write(kind, Path(root), classes, images)
        if kind in ('voc', 'labelme') and not any(expected.values()):
            return  # without classes; the next test has such a set
        assert_same(read(folder), expected)


@pytest.mark.parametrize('kind', ['yolo', 'coco'])
def test_classes_keep_their_numbers_if_nothing_was_found(kind, tmp_path):
    folder, _ = write(kind, tmp_path, ['b', 'a'], {'1.jpg': ((9, 9), []), '2.jpg': ((9, 9), [(1, 0, 0, 5, 5)])})
    if kind == 'yolo':
        assert (folder / 'labels/train/1.txt').read_text() == ''
        assert (folder / 'labels/train/2.txt').read_text().startswith('1 ')
    else:
        content = json.loads((folder / 'annotations/instances_default.json').read_text())
        assert content['categories'] == [dict(id=1, name='b'), dict(id=2, name='a')]
        assert [(record['category_id'], record['score']) for record in content['annotations']] == [(2, 1)]
        assert [image['file_name'] for image in content['images']] == ['1.jpg', '2.jpg']


def test_voc_and_labelme_have_a_file_for_an_image_without_boxes(tmp_path):
    for kind in ('voc', 'labelme'):
        (tmp_path / kind).mkdir()
        folder, _ = write(kind, tmp_path / kind, ['a'], {'1.jpg': ((9, 7), [])})
        if kind == 'voc':
            tree = ElementTree.parse(folder / 'Annotations/1.xml')
            assert [tree.findtext(f'size/{side}') for side in ('width', 'height')] == ['9', '7']
            assert tree.find('object') is None
            assert (folder / 'ImageSets/Main/default.txt').read_text() == '1\n'
            assert 'a:::' in (folder / 'labelmap.txt').read_text()
        else:
            content = json.loads((folder / '1.json').read_text())
            assert (content['shapes'], content['imagePath'], content['imageData']) == ([], '1.jpg', None)
            assert (content['imageWidth'], content['imageHeight']) == (9, 7)
            assert (folder / 'labels.txt').read_text() == 'a\n'


def test_corners_in_voc_count_from_one_and_labelme_has_the_score(tmp_path):
    boxes = {'1.jpg': ((90, 70), [(0, 0, 10.5, 90, 70)])}
    for kind in ('voc', 'labelme'):
        (tmp_path / kind).mkdir()
    folder, _ = write('voc', tmp_path / 'voc', ['a'], boxes)
    text = (folder / 'Annotations/1.xml').read_text()
    assert re.findall(r'<[xy]m..>([\d.]+)<', text) == ['1.0', '11.5', '90.0', '70.0']
    folder, _ = write('labelme', tmp_path / 'labelme', ['a'], boxes)
    shape, = json.loads((folder / '1.json').read_text())['shapes']
    assert (shape['points'], shape['description']) == ([[0, 10.5], [90, 70]], 'score 1.00')


@pytest.mark.parametrize('turn', [1, 6])
@pytest.mark.parametrize('kind', FORMATS)
def test_images_keep_their_exif_orientation_and_boxes_are_upright(kind, turn, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = turn
    size = (20, 30) if turn == 1 else (30, 20)
    content = saved(Image.new('L', (20, 30)), 'JPEG', exif=exif)
    folder, expected = write(kind, tmp_path, ['a'], {'1.jpg': (size, [(0, 1, 2, size[0], size[1])])},
                             lambda *_: content)
    image, = folder.rglob('*.jpg')
    assert image.read_bytes() == content
    assert read_header(image).size() == size
    assert_same(read(folder), expected)


def test_image_names_are_safe_and_differ_by_more_than_suffix_and_case():
    names = ['a.jpg', 'a.png', 'A.jpg', 'x/a.jpg', 'x_a.jpg', ' b c.jpg', '.hidden.jpg', 'é"1".jpg', 'a_2.jpg',
             'line\nbreak.jpg', 'bad\udcff.jpg', 'n' * 300 + '.jpg', '苹' * 90 + '.jpg', '50%#1?.tif']
    found = image_names(Source(Path('x'), name) for name in names)
    assert list(found) == names
    assert list(found.values())[:11] == [
        'a.jpg', 'a_2.png', 'A_3.jpg', 'x_a.jpg', 'x_a_2.jpg', '_b_c.jpg', 'hidden.jpg', 'é_1_.jpg', 'a_2_2.jpg',
        'line_break.jpg', 'bad_.jpg']
    assert all(len(name.encode()) < 256 for name in found.values())
    assert found['50%#1?.tif'] == '50__1_.tif'


def test_labels_of_a_person_are_not_overwritten(tmp_path):
    folder, _ = write('labelme', tmp_path, ['a'], {'1.jpg': ((9, 7), [])})
    with pytest.raises(UserError, match='a person corrected'):
        FORMATS['labelme'](folder, [Source(tmp_path / '0', '1.jpg')], ['a'])
    with pytest.raises(UserError, match='an input has this name'):
        FORMATS['labelme'](tmp_path / 'other', [Source(tmp_path / '0', 'other/1.jpg')], ['a'])


def test_videos_get_no_labels(tmp_path):
    sources = [Source(tmp_path / 'a.mp4', 'a.mp4')]
    with pytest.raises(UserError, match='extract their frames'):
        FORMATS['coco'](tmp_path / 'out', sources, ['a'])
    assert not (tmp_path / 'out').exists()
    with FORMATS['coco'](tmp_path / 'out', [*sources, Source(tmp_path / 'b.png', 'b.png')], ['a']) as labels:
        labels.add(sources[0], detections([], ['a'], (5, 5)))
    assert json.loads((tmp_path / 'out/annotations/instances_default.json').read_text())['images'] == []


def test_an_image_that_is_gone_is_named(tmp_path):
    source = Source(tmp_path / 'b.png', 'b.png')
    with (FORMATS['yolo'](tmp_path / 'out', [source], ['a']) as labels,
          pytest.raises(ImageError, match=r'the labels of .*b\.png cannot be written \(FileNotFoundError')):
        labels.add(source, detections([], ['a'], (5, 5)))
