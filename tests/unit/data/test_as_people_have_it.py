"""Data sets as people have them: what a run gets in the end, box for box.

Two more cases need a run (tests/run/cli/test_own_data.py): a warm-up that is longer than the run, and training on
images without boxes.
"""
import json

import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ghostdet.data.coco import class_names
from ghostdet.data.sources import find_sources
from ghostdet.errors import DataError
from ghostdet.images.exif import ORIENTATION
from tests.real_images import BCCD
from tests.unit.data.test_recognise import boxes_by_image
from tests.unit.data.test_voc import needs_bccd, thing, xml

SIZE = (96, 64)
# What every set below holds: class, file, x, y, width and height in pixels.
TRUTH = [('cat', 'a.png', 10, 20, 30, 40), ('dog', 'a.png', 0, 0, 96, 64), ('cat', 'b.png', 50.5, 8, 20, 16)]
CATEGORIES = [dict(id=1, name='cat'), dict(id=2, name='dog')]
IMAGES = [dict(id=1, file_name='a.png', width=96, height=64), dict(id=2, file_name='b.png', width=96, height=64)]
BOXES = [dict(id=1, image_id=1, category_id=1, bbox=[10, 20, 30, 40], area=1200, iscrowd=0),
         dict(id=2, image_id=1, category_id=2, bbox=[0, 0, 96, 64], area=6144, iscrowd=0),
         dict(id=3, image_id=2, category_id=1, bbox=[50.5, 8, 20, 16], area=320, iscrowd=0)]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A function that writes pictures (content None), JSON files and texts by file name, and returns their folder."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def write(files):
        for name, content in files.items():
            file = tmp_path / 'set' / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                Image.new('RGB', SIZE).save(file)
            else:
                file.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path / 'set'
    return write


def coco(images=IMAGES, boxes=BOXES, categories=CATEGORIES, pictures=('a.png', 'b.png')):
    """Files of a set in COCO's layout."""
    content = dict(images=images, annotations=boxes, categories=categories)
    return {'annotations/instances_train2017.json': content, **{f'train2017/{name}': None for name in pictures}}


def check(folder, split='train', upright=True, **options):
    source = find_sources(folder, upright=upright)[split]()
    class_names(source.content, source.split.annotations)
    return source.check(**options)


def boxes(checked):
    """What is trained on, in the form of TRUTH; folders before a file's name may differ between layouts."""
    files = {image['id']: image['file_name'].rpartition('/')[2] for image in checked.content['images']}
    names = {category['id']: category['name'] for category in checked.content['categories']}
    assert all(box['area'] > 0 and box['iscrowd'] == 0 for box in checked.content['annotations'])
    return [(names[box['category_id']], files[box['image_id']], *box['bbox']) for box in checked.content['annotations']]


def notes(checked):
    return '\n'.join(note.to_text() for note in checked.notes)


def test_ids_of_mixed_types(root, tmp_path, capsys):
    images = [IMAGES[0], dict(IMAGES[1], id='2')]
    checked = check(root(coco(images, [*BOXES[:2], dict(BOXES[2], image_id='2')])))
    assert boxes(checked) == TRUTH
    assert "images are renumbered: 1 ('2')" in notes(checked)
    (tmp_path / 'used.json').write_text(json.dumps(checked.content))
    truth = COCO(tmp_path / 'used.json')
    evaluation = COCOeval(truth, truth.loadRes([dict(box, score=0.9) for box in checked.content['annotations']]),
                          'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


@pytest.mark.parametrize('suffix', ['png', 'tiff', 'webp', 'jpg'])
def test_pictures_that_are_turned_by_90_degrees(suffix, root):
    """The boxes fit the upright picture if the record has its size. Else they fit the pixels in the file."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    name = f'a.{suffix}'
    lying = [dict(id=1, file_name=name, width=96, height=64)]
    folder = root(coco(lying, BOXES[:2], pictures=()))
    (folder / 'train2017').mkdir()
    Image.new('RGB', SIZE).save(folder / 'train2017' / name, exif=exif)
    with pytest.raises(DataError, match=r'1 of 1 images are turned by 90 degrees.*--ignore-orientation'):
        check(folder)
    assert boxes(check(folder, upright=False)) == [(kind, name, *box) for kind, _, *box in TRUTH[:2]]
    root(coco([dict(lying[0], width=64, height=96)], BOXES[:1], pictures=()))
    checked = check(folder)
    assert boxes(checked) == [('cat', name, 10, 20, 30, 40)]
    image = checked.content['images'][0]
    assert (image['width'], image['height'], checked.upright) == (64, 96, True)
    assert 'ATTENTION' not in notes(checked)


def test_pictures_that_are_turned_by_180_degrees_are_pointed_out(root):
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    folder = root(coco([dict(IMAGES[0], file_name='a.jpg')], BOXES[:2], pictures=()))
    (folder / 'train2017').mkdir()
    Image.new('RGB', SIZE).save(folder / 'train2017/a.jpg', exif=exif)
    checked = check(folder)
    assert boxes(checked) == [(kind, 'a.jpg', *box) for kind, _, *box in TRUTH[:2]]
    assert 'turned by 180 degrees, mirrored' in notes(checked)
    assert '1 (a.jpg)' in notes(checked)


def test_one_file_under_an_id_for_each_box(root):
    images = [dict(IMAGES[0], id=number) for number in range(1, 13)]
    annotations = [dict(BOXES[0], id=number, image_id=number, bbox=[number, 20, 30, 40]) for number in range(1, 13)]
    checked = check(root(coco(images, annotations)))
    assert boxes(checked) == [('cat', 'a.png', number, 20, 30, 40) for number in range(1, 13)]
    assert len(checked.content['images']) == 1
    assert 'files under several ids, merged into one image: 1 (a.png)' in notes(checked)


def test_most_images_without_boxes_are_counted(root):
    names = [f'{number}.png' for number in range(1, 41)]
    images = [dict(IMAGES[0], id=number, file_name=name) for number, name in enumerate(names, 1)]
    checked = check(root(coco(images, [BOXES[0], dict(BOXES[1], image_id=2)], pictures=names)))
    assert boxes(checked) == [('cat', '1.png', 10, 20, 30, 40), ('dog', '2.png', 0, 0, 96, 64)]
    assert checked.empty == names[2:]


@pytest.mark.parametrize('sides',
                         [{}, dict(width=0, height=0), dict(width=96.0, height=64.0), dict(width='96', height='64'),
                          dict(width=None, height=64)], ids=str)
def test_sizes_that_are_missing_or_no_whole_numbers(sides, root):
    images = [dict(id=image['id'], file_name=image['file_name'], **sides) for image in IMAGES]
    checked = check(root(coco(images)))
    assert boxes(checked) == TRUTH
    assert {(image['width'], image['height']) for image in checked.content['images']} == {SIZE}
    assert 'sizes ' in notes(checked)
    assert ': 2 (a.png, b.png)' in notes(checked)


def test_boxes_as_text(root):
    checked = check(root(coco(boxes=[dict(box, bbox=[str(value) for value in box['bbox']]) for box in BOXES])))
    assert boxes(checked) == TRUTH
    assert 'boxes given as text: 3 (id 1, id 2, id 3)' in notes(checked)


def test_polygons_without_boxes(root):
    annotations = []
    for box in BOXES:
        x, y, w, h = box['bbox']
        polygon = [x, y, x + w, y, x + w, y + h, x + w / 2, y + h]
        annotations.append(dict(id=box['id'], image_id=box['image_id'], category_id=box['category_id'],
                                segmentation=[polygon]))
    checked = check(root(coco(boxes=annotations)))
    assert boxes(checked) == TRUTH
    assert 'boxes missing, taken from the segmentation: 3' in notes(checked)


@pytest.mark.parametrize('parent', ['animals', 'cat'])
def test_roboflow_with_its_root_category(parent, root):
    """The parent may have a child's name."""
    categories = [dict(id=0, name=parent, supercategory='none'),
                  *(dict(one, supercategory=parent) for one in CATEGORIES)]
    content = dict(images=IMAGES, annotations=BOXES, categories=categories)
    folder = root({f'{split}/{name}': what for split in ('train', 'valid')
                   for name, what in (('_annotations.coco.json', content), ('a.png', None), ('b.png', None))})
    for split in ('train', 'val'):
        checked = check(folder, split)
        assert boxes(checked) == TRUTH
        assert class_names(checked.content, checked.split.annotations) == ('cat', 'dog')
        assert f'category without boxes that is the parent of all others, left out: 1 ({parent})' in notes(checked)


def test_cvat(root):
    content = dict(images=IMAGES, annotations=BOXES, categories=CATEGORIES)
    folder = root({'annotations/instances_default.json': content, 'images/a.png': None, 'images/b.png': None})
    assert boxes(check(folder)) == TRUTH


def yolo_line(kind, box):
    x, y, w, h = box
    return f'{("cat", "dog").index(kind)} {(x + w / 2) / 96!r} {(y + h / 2) / 64!r} {w / 96!r} {h / 64!r}'


def test_yolo(root):
    labels = {name: '\n'.join(yolo_line(kind, box) for kind, file, *box in TRUTH if file == f'{name}.png')
              for name in 'ab'}
    folder = root({'data.yaml': 'names: [cat, dog]\nnc: 2\ntrain: ../train/images\n',
                   **{f'train/images/{name}.png': None for name in 'ab'},
                   **{f'train/labels/{name}.txt': text for name, text in labels.items()}})
    found = boxes(check(folder))
    assert [box[:2] for box in found] == [box[:2] for box in TRUTH]
    assert [box[2:] for box in found] == [pytest.approx(box[2:], abs=1e-9) for box in TRUTH]


def test_voc(root):
    """The corners count from 1, and both belong to the box."""
    objects = {name: [thing(kind, (x + 1, y + 1, x + w, y + h))
                      for kind, file, x, y, w, h in TRUTH if file == f'{name}.png']
               for name in 'ab'}
    folder = root({**{f'Annotations/{name}.xml': xml(*things, filename=f'{name}.png', size='')
                      for name, things in objects.items()}, **{f'JPEGImages/{name}.png': None for name in 'ab'}})
    assert boxes(check(folder)) == TRUTH


@pytest.mark.parametrize('name', ['train2017/a.png', r'D:\set\a.png', 'A.PNG', './a.png', 'old/place/a.png'])
def test_file_names_that_differ(name, root):
    checked = check(root(coco([dict(IMAGES[0], file_name=name), IMAGES[1]])))
    assert boxes(checked) == TRUTH
    assert (checked.split.images / checked.content['images'][0]['file_name']).is_file()


@pytest.mark.parametrize(('name', 'file'), [('e\u0301 b.png', 'é b.png'), ('é b.png', 'e\u0301 b.png'),
                                            ('%C3%A9%20b.png', 'é b.png')])
def test_file_names_in_another_unicode_form(name, file, root):
    checked = check(root(coco([dict(IMAGES[0], file_name=name)], BOXES[:2], pictures=[file])))
    assert boxes(checked) == [(kind, file, *box) for kind, _, *box in TRUTH[:2]]
    assert 'file names that differ from the file on disk: 1' in notes(checked)


def test_a_picture_above_pillows_limit(root):
    folder = root(coco([dict(IMAGES[0], width=14000, height=13000)], BOXES[:1]))
    Image.new('1', (14000, 13000)).save(folder / 'train2017/a.png', compress_level=1)
    checked = check(folder)
    assert boxes(checked) == TRUTH[:1]
    assert 'ATTENTION' not in notes(checked)


def test_a_test_split_without_annotations(root):
    """It can be predicted on, and nothing is made up for it."""
    folder = root(coco() | {'annotations/image_info_test-dev2017.json': dict(images=IMAGES, categories=CATEGORIES),
                            'test2017/a.png': None, 'test2017/b.png': None})
    source = find_sources(folder, val_split='test-dev2017')['val']()
    with pytest.raises(DataError, match=r'has no annotations.*ghostdet test'):
        source.check()
    checked = source.check(unlabelled=True)
    assert (checked.content['images'], checked.content['annotations'], checked.annotated) == (IMAGES, [], False)
    assert checked.split.images == folder / 'test2017'


@needs_bccd
def test_bccd_is_trained_on_as_it_was_published_but_for_two_boxes_without_area(root, tmp_path, monkeypatch):
    """tests/unit/data/test_recognise.py compares it with copies in the other layouts, box for box."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    bad, count = [], 0
    for name, reader in find_sources(BCCD, 'trainval', 'test').items():
        source = reader()
        checked = source.check()
        assert (checked.dropped, len(checked.content['images'])) == ([], dict(train=292, val=72)[name])
        assert boxes_by_image(checked.content) == boxes_by_image(source.content)
        bad += checked.bad
        count += len(checked.content['annotations'])
    assert count == 4886
    assert [entry['where'].rpartition('/')[2] for entry in bad] == [
        'BloodImage_00338.xml, object 13', 'BloodImage_00343.xml, object 4']
    assert all('has no area' in entry['problem'] for entry in bad)
