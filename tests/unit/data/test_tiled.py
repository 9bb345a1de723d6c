"""Tiles of a data set: no object is lost or moved, and the pixels are those that a detector sees."""
import json
from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ghostdet.data.checked import Checked
from ghostdet.data.coco import Split
from ghostdet.data.copies import content_groups
from ghostdet.data.tiled import Cutting, cut_records, overlap_for, usual_tile, write_tiles
from ghostdet.errors import DataError, UserError
from ghostdet.images.tiling import tiles_of
from ghostdet.options import LookOptions


def content_of(width, height, boxes, names=('a.png',)):
    """Each image with the same boxes: ([x, y, width, height], iscrowd)."""
    return dict(images=[dict(id=7 + index, file_name=name, width=width, height=height, license=1)
                        for index, name in enumerate(names)],
                categories=[dict(id=3, name='disc')],
                annotations=[dict(id=100 * index + number, image_id=7 + index, category_id=3, bbox=bbox,
                                  area=bbox[2] * bbox[3], iscrowd=iscrowd, segmentation=[[0, 0, 1, 1, 1, 0]])
                             for index, _ in enumerate(names) for number, (bbox, iscrowd) in enumerate(boxes, 1)])


def inside(bbox, width, height):
    """Corners of the part of a box in its image."""
    x, y, w, h = bbox
    return max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)


@st.composite
def cases(draw):
    width, height, size = (draw(st.integers(*limits)) for limits in ((20, 300), (20, 300), (32, 120)))
    boxes = [([draw(st.floats(-5, width - 1)), draw(st.floats(-5, height - 1)), draw(st.floats(6, 90)),
               draw(st.floats(6, 90))], draw(st.integers(0, 1))) for _ in range(draw(st.integers(1, 5)))]
    cutting = Cutting(size, draw(st.integers(0, size // 2)), draw(st.floats(0.05, 1)), empty=draw(st.floats(0, 2)))
    return content_of(width, height, boxes), cutting


@given(cases())
def test_cut_records_has_what_is_visible_of_each_box_in_each_tile_and_nothing_else(case):
    content, cutting = case
    (image,), result = content['images'], cut_records(content, cutting, cutting.overlap).content
    tiles = {tuple(tile['corner']): tile for tile in result['images']}
    for left, top, right, bottom in tiles_of(image['width'], image['height'], cutting.size, cutting.overlap):
        wanted = []
        for box in content['annotations']:
            x1, y1, x2, y2 = inside(box['bbox'], image['width'], image['height'])
            u1, v1, u2, v2 = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
            if u1 < u2 and v1 < v2:
                share = (u2 - u1) * (v2 - v1) / ((x2 - x1) * (y2 - y1))
                is_part = share < (1 if box['iscrowd'] else cutting.min_visible)
                if not is_part or min(u2 - u1, v2 - v1) >= 4:
                    wanted.append(([u1, v1, u2, v2], int(is_part or box['iscrowd']), is_part))
        tile = tiles.get((left, top))
        if tile is None:  # without an object
            assert all(ignored for _, ignored, _ in wanted)
            continue
        assert (tile['width'], tile['height']) == (right - left, bottom - top)
        assert (tile['file_name'], tile['cut_from']) == (f'a_{left}_{top}.png', 'a.png')
        found = []
        for box in result['annotations']:
            if box['image_id'] == tile['id']:
                x, y, w, h = box['bbox']
                found.append((pytest.approx([left + x, top + y, left + x + w, top + y + h]), box['iscrowd'],
                              bool(box.get('difficult'))))
                assert 0 < w <= tile['width']
                assert 0 < h <= tile['height']
        assert wanted == found


@given(cases())
def test_cut_records_has_each_object_no_larger_than_the_overlap_whole_in_a_tile(case):
    content, cutting = case
    result = cut_records(content, cutting, cutting.overlap)
    (image,) = content['images']
    objects = [box['bbox'] for box in content['annotations'] if not box['iscrowd']]
    sizes = [(x2 - x1, y2 - y1) for x1, y1, x2, y2 in (inside(bbox, image['width'], image['height'])
                                                       for bbox in objects)]
    small = sum(all(side <= cutting.overlap for side in sides) for sides in sizes)
    assert small <= result.objects['whole'] <= len(objects) == sum(result.objects.values())
    areas = [box['area'] for box in result.content['annotations'] if not box['iscrowd']]
    assert len(areas) >= result.objects['whole'] + result.objects['parts']


@given(cases())
def test_cut_records_keeps_so_many_tiles_without_a_box_and_the_same_each_time(case):
    content, cutting = case
    result = cut_records(content, cutting, cutting.overlap)
    (image,), tiles = content['images'], result.content['images']
    filled = {box['image_id'] for box in result.content['annotations'] if not box['iscrowd']}
    total = len(tiles_of(image['width'], image['height'], cutting.size, cutting.overlap))
    assert result.empty == total - len(filled)
    assert result.kept == len(tiles) - len(filled) == min(result.empty, round(cutting.empty * len(filled)))
    assert [tile['id'] for tile in tiles] == list(range(1, len(tiles) + 1))
    assert [box['id'] for box in result.content['annotations']] == [
        number for number, _ in enumerate(result.content['annotations'], 1)]
    assert cut_records(content, cutting, cutting.overlap) == result


def test_cut_records_ignores_what_is_too_little_of_an_object():
    """Two tiles without an overlap. In the right one are 25 of the 100 columns of the first box, 3 of 11 of the second.
    """
    content = content_of(200, 100, [([25, 10, 100, 20], 0), ([92, 50, 11, 10], 0), ([90, 80, 30, 10], 1)])
    result = cut_records(content, Cutting(100), 0)
    assert result.content['annotations'] == [
        dict(id=1, image_id=1, category_id=3, bbox=[25, 10, 75, 20], area=1500, iscrowd=0),
        dict(id=2, image_id=1, category_id=3, bbox=[92, 50, 8, 10], area=80, iscrowd=0),
        dict(id=3, image_id=1, category_id=3, bbox=[90, 80, 10, 10], area=100, iscrowd=1, difficult=1)]
    assert result.objects == dict(parts=2)
    assert (result.empty, result.kept) == (1, 0)  # the right tile has nothing but what is ignored
    right = cut_records(content, Cutting(100, empty=1), 0).content['annotations'][3:]
    assert [(box['bbox'], box['iscrowd'], box.get('difficult')) for box in right] == [
        ([0, 10, 25, 20], 1, 1), ([0, 80, 20, 10], 1, 1)]
    assert cut_records(content, Cutting(100, min_visible=0.25), 0).objects == dict(parts=2)
    assert cut_records(content, Cutting(100, min_visible=0.8), 0).objects == dict(no=2)


def test_cut_records_keeps_the_areas_of_masks_in_proportion():
    content = content_of(200, 100, [([50, 10, 100, 20], 0)])
    content['annotations'][0]['area'] = 300
    assert [box['area'] for box in cut_records(content, Cutting(100), 0).content['annotations']] == [150, 150]


def test_cut_records_survives_a_box_far_below_a_pixel():
    assert cut_records(content_of(200, 100, [([50, 10, 1e-20, 5], 0)]), Cutting(100), 0).objects == dict(no=1)


def test_cut_records_names_no_two_tiles_alike():
    names = ('a.png', 'a.bmp', 'b.jpg', 'b.jpeg', 'sub/a.png', '../a.png', '{0}.JPG')
    tiles = cut_records(content_of(50, 50, [([5, 5, 9, 9], 0)], names), Cutting(100), 0).content['images']
    assert [tile['file_name'] for tile in tiles] == [
        'a.png_0_0.png', 'a.bmp_0_0.png', 'b.jpg_0_0.jpg', 'b.jpeg_0_0.jpg', 'sub/a_0_0.png', '12_a_0_0.png',
        '{0}_0_0.jpg']


def test_usual_tile_is_the_median_image_and_an_overlap_for_its_boxes():
    content = content_of(640, 480, [([5, 5, 100, 90], 0), ([5, 5, 400, 400], 1)], ('a.png', 'b.png', 'c.png'))
    content['images'][0].update(width=300, height=900)
    assert usual_tile(content) == (640, 100)
    assert overlap_for(content, 150) == 75


# --------------------------------------------------------------------------------------------------------------- pixels

def split_of(root, pixels, name='a.png', **more):
    (root / 'images').mkdir()
    image = Image.fromarray(pixels)
    image.save(root / 'images' / name, **more)
    height, width = pixels.shape[:2]
    if more:
        width, height = height, width
    return Checked(Split('train', root / 'train.json', root / 'images'),
                   content_of(width, height, [([0, 0, width, height], 0)], (name,)))


def written(root):
    return {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
            for path in (root / 'train2017').iterdir()}


NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def test_write_tiles_have_the_pixels_of_the_image(tmp_path):
    text = write_tiles([split_of(tmp_path, NOISE)], tmp_path / 'out', Cutting(50, 10, min_visible=0.1))
    tiles = written(tmp_path / 'out')
    assert set(tiles) == {f'a_{left}_{top}.png' for left, top in product((0, 35, 70), (0, 40))}
    for name, pixels in tiles.items():
        left, top = map(int, name[2:-4].split('_'))
        assert (pixels[:, :, ::-1] == NOISE[top:top + 50, left:left + 50]).all()
    content = json.loads((tmp_path / 'out/annotations/instances_train2017.json').read_text())
    assert {image['file_name'] for image in content['images']} == set(tiles)
    assert text.startswith('tiles of 50 pixels; neighbours share at least 10\n')
    assert text.endswith('\n6 tiles: 6 with a box, and 0 of the 0 without one\n'
                         '1 objects: 0 are whole in a tile, 1 only in parts, 0 in no tile with enough of their area')


def test_write_tiles_are_upright_jpegs_for_a_jpeg_that_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = cv2.resize(NOISE[:3, :4], (120, 90))
    write_tiles([split_of(tmp_path, smooth, 'a.jpg', exif=exif)], tmp_path / 'out', Cutting(100, 10, 0.1))
    tiles = written(tmp_path / 'out')
    assert {name: pixels.shape for name, pixels in tiles.items()} == {
        'a_0_0.jpg': (100, 90, 3), 'a_0_20.jpg': (100, 90, 3)}
    upright = np.rot90(smooth, -1)
    assert np.abs(tiles['a_0_20.jpg'][:, :, ::-1].astype(int) - upright[20:]).mean() < 4
    with Image.open(tmp_path / 'out/train2017/a_0_0.jpg') as image:
        assert not image.getexif()


def test_write_tiles_have_the_depth_of_the_data_set(tmp_path):
    """Of 12 bits, the 8 highest: what a training takes."""
    checked = split_of(tmp_path, NOISE[:, :, 0].astype(np.uint16) * 4)  # 10 bits
    checked.bits = 12
    write_tiles([checked], tmp_path / 'out', Cutting(120, 10))
    (pixels,) = written(tmp_path / 'out').values()
    assert (pixels == NOISE[:, :, :1] // 4).all()


def test_write_tiles_names_a_broken_image_and_one_of_another_size(tmp_path):
    checked = split_of(tmp_path, NOISE, 'a.jpg')
    checked.content['images'][0]['width'] = 100
    with pytest.raises(DataError, match=r'a\.jpg is 120x90, its record says 100x90'):
        write_tiles([checked], tmp_path / 'out', Cutting(50, 10, 0.1))
    file = tmp_path / 'images/a.jpg'
    file.write_bytes(file.read_bytes()[:-999])  # some versions of OpenCV make it grey there
    with pytest.raises(DataError, match=r'a\.jpg cannot be read .*Copy or download it again'):
        write_tiles([checked], tmp_path / 'other', Cutting(50, 10, 0.1))


def test_write_tiles_refuses_tiles_in_which_no_object_is_visible(tmp_path):
    with pytest.raises(DataError, match=r'no tile of 50 pixels has a box in the train split: less than 0\.3 of each'):
        write_tiles([split_of(tmp_path, NOISE)], tmp_path / 'out', Cutting(50, 10))


def test_content_groups_keep_the_tiles_of_one_image_together(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'1')
    (tmp_path / 'b.png').write_bytes(b'2')
    images = [dict(id=1, file_name='a.png', cut_from='x.png'), dict(id=2, file_name='b.png', cut_from='x.png')]
    group = content_groups(Checked(Split('train', tmp_path, tmp_path), dict(images=images)))
    assert group(images[0]) == group(images[1]) != group(dict(images[0], cut_from='y.png'))


# -------------------------------------------------------------------------------------------------------------- options

def options(**values):
    return LookOptions(data_root='set', **values)


def test_cutting_of_options():
    assert Cutting.of(options()) is None
    assert Cutting.of(options(out='o', tiles=416)) == Cutting(416, None, 0.3, 0.25)
    named = dict(tile_overlap=0, min_visible=1, empty_tiles=0)
    assert Cutting.of(options(out='o', tiles=416, **named)) == Cutting(416, 0, 1, 0)


@pytest.mark.parametrize(('values', 'message'), [
    (dict(tile_overlap=9), '--tile-overlap 9 is for tiles: add --tiles N'),
    (dict(min_visible=0.5), '--min-visible 0.5 is for tiles'),
    (dict(empty_tiles=0), '--empty-tiles 0 is for tiles'),
    (dict(tiles=416), '--tiles 416: name the folder for the tiles with --out DIR'),
    (dict(tiles=31, out='o'), '--tiles 31: expected from 32 to 8192 pixels'),
    (dict(tiles=64, out='o', tile_overlap=64), '--tile-overlap 64: expected from 0 to 63 pixels'),
    (dict(tiles=64, out='o', min_visible=0), '--min-visible 0: expected a fraction'),
    (dict(tiles=64, out='o', min_visible=float('nan')), '--min-visible nan: expected a fraction'),
    (dict(tiles=64, out='o', empty_tiles=-1), '--empty-tiles -1: expected 0 or more')])
def test_cutting_of_options_that_make_no_sense(values, message):
    with pytest.raises(UserError, match=message):
        Cutting.of(options(**values))
