"""A data set is found in whichever layout it is, and gives the same boxes in each."""
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ghostdet.data.checked import Source
from ghostdet.data.coco import Split, class_names
from ghostdet.data.recognise import Layout, recognise
from ghostdet.data.sources import find_sources
from ghostdet.errors import DataError
from tests.real_images import BCCD
from tests.unit.data.test_voc import needs_bccd, thing, xml


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


CONTENT = dict(images=[dict(id=1, file_name='a.jpg', width=40, height=20)], categories=[dict(id=1, name='cat')],
               annotations=[dict(id=1, image_id=1, category_id=1, bbox=[1, 2, 20, 10], area=200, iscrowd=0)])


def with_name(name):
    return dict(CONTENT, images=[dict(CONTENT['images'][0], file_name=name)])


@pytest.fixture
def root(tmp_path):
    """A function that writes images, JSON files and texts below a folder, by file name, and returns the folder."""
    def write(files):
        folder = tmp_path / 'set'
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                Image.new('RGB', (40, 20)).save(folder / name)
            else:
                (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return folder
    return write


COCO = {'annotations/instances_train2017.json': CONTENT, 'annotations/instances_val2017.json': CONTENT,
        'train2017/a.jpg': None,
        'annotations/captions_val2017.json': {}, 'annotations/person_keypoints_val2017.json': {}, 'val2017/a.jpg': None}
ROBOFLOW = {f'{split}/{name}': content for split in ('train', 'valid', 'test')
            for name, content in (('_annotations.coco.json', CONTENT), ('a.jpg', None))}
YOLO = {'data.yaml': 'names: [cat]\ntrain: images/train\nval: images/val', 'images/train/a.jpg': None,
        'images/val/a.jpg': None, 'labels/train/a.txt': '0 .5 .5 .5 .5', 'labels/val/a.txt': '0 .5 .5 .5 .5'}
VOC = {'Annotations/a.xml': xml(thing(box=(1, 2, 30, 20)), size=''), 'JPEGImages/a.jpg': None,
       'ImageSets/Main/train.txt': 'a', 'ImageSets/Main/val.txt': 'a'}


@pytest.mark.parametrize(('files', 'name', 'train', 'val', 'images', 'origin'), [
    (COCO, 'COCO', 'train2017', 'val2017', 'train2017', 'annotations/instances_train2017.json'),
    (ROBOFLOW, 'Roboflow COCO', 'train', 'valid', 'train', 'train/_annotations.coco.json'),
    ({'_annotations.coco.json': CONTENT, 'a.jpg': None}, 'Roboflow COCO', 'train', None, '.', '_annotations.coco.json'),
    ({'annotations/instances_default.json': CONTENT, 'images/a.jpg': None}, 'COCO files', 'default', None, 'images',
     'annotations/instances_default.json'),
    ({'annotations/instances_Train.json': CONTENT, 'annotations/instances_Validation.json': CONTENT,
      'images/Train/a.jpg': None, 'images/Validation/a.jpg': None}, 'COCO files', 'Train', 'Validation', 'images/Train',
      'annotations/instances_Train.json'),
    ({'annotations/instances_default.json': CONTENT, 'images/default/a.jpg': None}, 'COCO files', 'default', None,
     'images/default', 'annotations/instances_default.json'),
    ({'annotations/train.json': CONTENT, 'annotations/val.json': CONTENT, 'annotations/notes.json': {},
      'images/a.jpg': None},
     'COCO files', 'train', 'val', 'images', 'annotations/train.json'),
    ({'result.json': with_name('images/a.jpg'), 'images/a.jpg': None}, 'COCO files', 'result', None, '.',
     'result.json'),
    ({'result.json': with_name('images\\a.jpg'), 'images/a.jpg': None}, 'COCO files', 'result', None, '.',
     'result.json'),
    ({'labels.json': CONTENT, 'a.jpg': None, 'package.json': {}}, 'COCO files', 'labels', None, '.', 'labels.json'),
    ({'labels.json': CONTENT, 'data/a.jpg': None}, 'COCO files', 'labels', None, 'data', 'labels.json'),
    (YOLO, 'YOLO', 'train', 'val', '.', 'data.yaml'),
    (VOC, 'Pascal VOC', 'train', 'val', '.', 'ImageSets/Main/train.txt'),
    ({name: VOC[name] for name in list(VOC)[:2]}, 'Pascal VOC', 'train', None, '.', '.'),
    ({name: text for name, text in YOLO.items() if name != 'data.yaml'}, 'YOLO', 'train', 'val', '.', '.'),
    (YOLO | {'notes.json': '{"images": 1}'}, 'YOLO', 'train', 'val', '.', 'data.yaml')])
def test_recognise_layouts(root, files, name, train, val, images, origin):
    folder = root(files)
    layout = recognise(folder)
    assert (layout.name, layout.train, layout.val) == (name, train, val)
    source = layout.read(train)
    assert (source.split.images, source.split.annotations) == (folder / images, folder / origin)
    assert (len(source.content['images']), len(source.content['annotations']), source.problems) == (1, 1, [])
    assert (source.split.images / source.content['images'][0]['file_name'].replace('\\', '/')).is_file()
    assert source.annotated


@pytest.mark.parametrize(('splits', 'train', 'val'), [
    (('test', 'train', 'trainval', 'val'), 'train', 'val'), (('test', 'trainval'), 'trainval', 'test'),
    (('val',), None, 'val'), (('train', 'train2017', 'val2017', 'valid'), 'train', 'valid'), (('a', 'b'), None, None),
    (('Train', 'TEST'), 'Train', 'TEST')])
def test_layout_which_split_is_for_what(tmp_path, splits, train, val):
    layout = Layout('YOLO', tmp_path, splits, lambda split, _: Source(Split(split, tmp_path, tmp_path), {}))
    assert layout.val == val
    if train:
        assert layout.train == train
    else:
        with pytest.raises(DataError, match=r'has no train split, but (a, b|val)'):
            assert layout.train


def test_recognise_a_split_that_does_not_exist_is_refused_with_those_that_do(root):
    with pytest.raises(DataError, match=r"no split 'tarin'\. It has train2017, val2017.*--train-split"):
        recognise(root(COCO)).read('tarin')


@pytest.mark.parametrize(('files', 'message'), [
    ({}, (r'no layout that ghostdet knows\. Looked for COCO .*YOLO .*Pascal VOC .*There: nothing\. '
          r'.*--train-ann.*--val-split')),
    ({'a.jpg': None, 'notes/b.txt': ''}, r'There: a\.jpg, notes/\.'),
    (YOLO | VOC, 'several layouts: YOLO and Pascal VOC. .*--train-ann'),
    (COCO | YOLO, 'several layouts: YOLO and COCO'),
    (COCO | {'data.yaml': 'train: gone'}, 'several layouts: YOLO and COCO'),
    ({f'VOC2007/{name}': text for name, text in VOC.items()},
     r'holds some: .*set/VOC2007 \(Pascal VOC\)\. .*--data-root'),
    ({'data.yaml': 'train: [', 'a.jpg': None}, 'cannot be read as YAML'),
    ({'package.json': '{}'}, r'There: package\.json')])
def test_recognise_what_is_unknown_or_ambiguous_is_refused(root, files, message):
    with pytest.raises(DataError, match=message):
        recognise(root(files))


def test_recognise_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r'/nowhere does not exist'):
        recognise(tmp_path / 'nowhere')


def test_recognise_missing_images_are_named(root):
    folder = root({'annotations/instances_train2017.json': CONTENT})
    with pytest.raises(DataError,
                       match=r'instances_train2017\.json are missing, such as a\.jpg\. Looked in .*--train-img'):
        recognise(folder).read('train2017')
    (folder / 'images').mkdir()  # then the check names each
    assert recognise(folder).read('train2017').split.images == folder / 'images'


@pytest.mark.parametrize('content', ['{"images": 1}', '{"images"', '["images"]'])
def test_recognise_a_file_that_is_not_coco_is_refused(root, content):
    with pytest.raises(DataError, match=r'result\.json is not'):
        recognise(root({'result.json': content})).read('result')


def test_recognise_odd_image_records_do_not_stop_the_search_for_images(root):
    odd = [None, {}, dict(file_name=3), dict(file_name='a\0b'), dict(file_name='x' * 5000)]
    content = dict(CONTENT, images=odd + CONTENT['images'])
    assert recognise(root({'labels.json': content, 'data/a.jpg': None})).read('labels').split.images.name == 'data'


def test_recognise_a_test_split_needs_no_annotations_but_a_train_split_does(root):
    unlabelled = {key: value for key, value in CONTENT.items() if key != 'annotations'}
    folder = root(COCO | {'annotations/image_info_test-dev2017.json': unlabelled, 'test2017/a.jpg': None,
                          'other/a.jpg': None, 'annotations/image_info_val2017.json': unlabelled})
    layout = recognise(folder)
    assert set(layout.splits) == {'train2017', 'val2017', 'test-dev2017'}
    source = layout.read('test-dev2017')
    assert (source.annotated, source.content['annotations'], source.split.images) == (False, [], folder / 'test2017')
    assert layout.read('val2017').annotated  # the file with boxes counts
    root({'annotations/instances_train2017.json': unlabelled})
    with pytest.raises(DataError, match="no list 'annotations'"):
        layout.read('train2017')


def test_recognise_test_images_of_yolo_and_voc_without_labels(root, tmp_path):
    folder = root(YOLO | {'data.yaml': YOLO['data.yaml'] + '\ntest: images/test', 'images/test/a.jpg': None})
    source = recognise(folder).read('test')
    assert (source.annotated, len(source.content['images']), source.content['annotations']) == (False, 1, [])
    assert recognise(folder).read('val').annotated


def test_recognise_unlabelled_voc(root):
    source = recognise(root(VOC | {'ImageSets/Main/test.txt': 'b', 'JPEGImages/b.jpg': None})).read('test')
    assert (source.annotated, source.problems) == (False, [])
    assert source.content['images'][0]['file_name'] == 'JPEGImages/b.jpg'


def test_recognise_classes_are_those_of_all_splits(root):
    files = VOC | {'Annotations/b.xml': xml(thing('ant')), 'JPEGImages/b.jpg': None, 'ImageSets/Main/val.txt': 'b'}
    layout = recognise(root(files))
    assert layout.read('train').content['categories'] == layout.read('val').content['categories'] == [
        dict(id=1, name='ant'), dict(id=2, name='cat')]


def test_recognise_classes_without_names_are_those_of_all_splits(root):
    files = {name: text for name, text in YOLO.items() if name != 'data.yaml'} | {'labels/val/a.txt': '4 .5 .5 .5 .5'}
    layout = recognise(root(files))
    assert layout.read('train').content['categories'] == layout.read('val').content['categories'] == [
        dict(id=1, name='class 0'), dict(id=5, name='class 4')]


def test_recognise_sizes_are_those_of_the_upright_image_and_a_missing_image_is_listed(root):
    folder = root(YOLO
                  | {'data.yaml': 'names: [cat]\ntrain: list.txt', 'list.txt': 'images/train/a.jpg\nimages/gone.jpg'})
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new('RGB', (40, 20)).save(folder / 'images/train/a.jpg', exif=turned)
    source = recognise(folder).read('train')
    (image,) = source.content['images']
    assert (image['width'], image['height']) == (20, 40)
    assert source.content['annotations'][0]['bbox'] == [5, 10, 10, 20]
    assert [(entry['where'], entry['problem']) for entry in source.problems] == [
        (str(folder / 'images/gone.jpg'), 'the image file is missing')]


# -------------------------------------------------------------------------------------------------- BCCD there and back

def write_yolo(folder, split, content):
    files = {image['id']: image for image in content['images']}
    lines = {image['id']: [] for image in content['images']}
    for box in content['annotations']:
        (x, y, w, h), image = box['bbox'], files[box['image_id']]
        values = ((x + w / 2) / image['width'], (y + h / 2) / image['height'], w / image['width'], h / image['height'])
        lines[image['id']].append(' '.join([str(box['category_id'] - 1), *(f'{value:.8f}' for value in values)]))
    for number, image in files.items():
        name = Path(image['file_name']).name
        link(folder / f'{split}/images/{name}', image)
        put(folder / f'{split}/labels/{Path(name).stem}.txt', '\n'.join(lines[number]))
    names = json.dumps([category['name'] for category in content['categories']])
    put(folder / 'data.yaml',
        f'train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 3\nnames: {names}\n')


def write_roboflow(folder, split, content):
    for image in content['images']:
        link(folder / split / Path(image['file_name']).name, image)
    put(folder / f'{split}/_annotations.coco.json', json.dumps(without_folders(content)))


def write_cvat(folder, split, content):
    for image in content['images']:
        link(folder / 'images' / Path(image['file_name']).name, image)
    put(folder / f'annotations/instances_{split}.json', json.dumps(without_folders(content)))


def without_folders(content):
    return dict(content, images=[dict(image, file_name=Path(image['file_name']).name) for image in content['images']])


def link(file, image):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(BCCD / image['file_name'])


def put(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def boxes_by_image(content):
    """Name of an image -> its size, and the class and the box of each object: what stays if ids and folders change."""
    names = {image['id']: Path(image['file_name']).name for image in content['images']}
    classes = {category['id']: category['name'] for category in content['categories']}
    found = {names[image['id']]: [('', image['width'], image['height'])] for image in content['images']}
    for box in content['annotations']:
        found[names[box['image_id']]].append((classes[box['category_id']], *box['bbox'], box['area'], box['iscrowd']))
    return found


@needs_bccd
@pytest.mark.parametrize(('write', 'name'),
                         [(write_yolo, 'YOLO'), (write_roboflow, 'Roboflow COCO'), (write_cvat, 'COCO files')])
def test_recognise_bccd_is_the_same_in_every_layout(tmp_path, write, name):
    voc = recognise(BCCD)
    assert (voc.name, voc.splits, voc.train, voc.val) == ('Pascal VOC', ('test', 'train', 'trainval', 'val'), 'train',
                                                          'val')
    for split, as_written in (('train', 'train'), ('val', 'valid'), ('test', 'test')):
        write(tmp_path, as_written, voc.read(split).content)
    layout = recognise(tmp_path)
    assert layout.name == name
    for split, as_read in (('train', layout.train), ('val', layout.val), ('test', 'test')):
        wanted, source = voc.read(split), layout.read(as_read)
        assert source.problems == []
        there, back = boxes_by_image(wanted.content), boxes_by_image(source.content)
        assert there.keys() == back.keys()
        for image, boxes in there.items():
            assert [box[0] for box in back[image]] == [box[0] for box in boxes]
            for box, same in zip(boxes, back[image]):
                assert same[1:5] == pytest.approx(box[1:5], abs=1e-3)
                assert same[5:] == pytest.approx(box[5:], rel=1e-4)
        assert class_names(source.content, source.split.annotations) == ('Platelets', 'RBC', 'WBC')


@needs_bccd
def test_recognise_bccd_passes_the_check_of_a_split():
    checked = replace(recognise(BCCD).read('test'), problems=[]).check()
    assert (len(checked.content['images']), checked.bad, checked.dropped, checked.notes) == (72, [], [], [])


def test_recognise_images_of_another_split_with_the_same_names_are_not_taken(root):
    """Splits number their images alike, and one of val's is missing."""
    content = dict(CONTENT,
                   images=[dict(id=number, file_name=f'{number}.png', width=40, height=20) for number in range(1, 5)])
    images = [f'train2017/{number}.png' for number in range(1, 9)] + ['val2017/1.png', 'val2017/3.png']
    folder = root({'annotations/instances_train2017.json': content, 'annotations/instances_val2017.json': content,
                   **dict.fromkeys(images)})
    assert recognise(folder).read('val2017').split.images == folder / 'val2017'


def test_recognise_a_val_split_alone_is_not_trained_on(root):
    layout = recognise(root({'annotations/instances_val2017.json': CONTENT, 'val2017/a.jpg': None}))
    with pytest.raises(DataError, match='has no train split, but val2017'):
        _ = layout.train


@pytest.mark.parametrize('place', ['annots', 'xml', 'xmls', 'labels', 'annotations', 'images', '.'])
@pytest.mark.parametrize('images', ['images', 'JPEGImages', 'photos', '.'])
def test_recognise_voc_in_other_folders(root, place, images):
    files = {f'{place}/a.xml': xml(thing(), filename='a.jpg' if images == 'photos' else 'b.jpg'),
             f'{images}/a.jpg': None}
    folder = root(files)
    source = find_sources(folder)['train']()
    assert recognise(folder).name == 'Pascal VOC'
    assert [image['file_name'] for image in source.content['images']] == [f'{images}/a.jpg'.removeprefix('./')]
    assert [box['bbox'] for box in source.content['annotations']] == [[10, 20, 20, 40]]


def test_recognise_voc_with_a_folder_for_each_split(root):
    """As Roboflow exports it."""
    layout = recognise(root({'train/a.xml': xml(thing('dog')), 'train/a.jpg': None, 'valid/a.xml': xml(thing('cat')),
                             'valid/a.jpg': None}))
    assert (layout.name, layout.train, layout.val) == ('Pascal VOC', 'train', 'valid')
    for name, label in (('train', 2), ('valid', 1)):
        source = layout.read(name)
        assert source.split.images == layout.root / name
        assert [box['category_id'] for box in source.content['annotations']] == [label]


def test_recognise_voc_and_yolo_are_told_apart_in_labels(root):
    assert recognise(root({'images/a.jpg': None, 'labels/a.txt': '0 .5 .5 .5 .5'})).name == 'YOLO'
    # A leftover of another program in the folder of a set that has its usual files is not a layout.
    assert recognise(root({'labels/b.xml': xml(thing())})).name == 'YOLO'


CVAT_XML = '<?xml version="1.0"?>\n<annotations>\n<version>1.1</version>\n<{}/>\n</annotations>'
TASK = dict(data=dict(image='/data/a.jpg'), annotations=[dict(result=[])])
MIN = dict(image='/data/a.jpg', label=[dict(x=1, y=2, original_width=40, rectanglelabels=['cat'])])


@pytest.mark.parametrize(('files', 'message'), [
    ({'annotations.xml': CVAT_XML.format('image id="0" name="a.jpg"')}, r'annotations\.xml is the XML of "CVAT .*COCO'),
    ({'annotations/a.xml': CVAT_XML.format('track id="0"')}, r'a\.xml is the XML of "CVAT .* YOLO or Pascal VOC\.'),
    ({'Annotations/a.xml': CVAT_XML.format('meta><a/></meta><b')}, r'a\.xml is the XML of "CVAT '),
    ({'export.json': [TASK]}, r'export\.json is the JSON of Label Studio: .* COCO or YOLO'),
    ({'export.json': [MIN]}, r'export\.json is the JSON of Label Studio: .* COCO or YOLO'),
    ({'labels.csv': 'filename,width,height,class,xmin,ymin,xmax,ymax\n'}, r'labels\.csv is a table of boxes: .* COCO'),
    ({'train/labels.csv': '"ImageID","XMin","XMax","YMin","YMax"\r\n'}, r'labels\.csv is a table of boxes'),
    ({'labels.csv': '\ufeffpath, x1, y1, x2, y2'}, r'labels\.csv is a table of boxes'),
    ({'via.csv': 'filename,file_size,region_shape_attributes,region_attributes\n'}, r'via\.csv is the CSV of VGG VIA'),
    ({'list.csv': 'name,x1\n', 'a.json': '[1]', 'a.xml': '<annotations/>'}, 'is in no layout that ghostdet knows')])
def test_recognise_annotations_of_other_programs_are_named(root, files, message):
    with pytest.raises(DataError, match=message):
        recognise(root(files | {'images/a.jpg': None}))


def test_a_split_that_nothing_reads_is_named(root, caplog):
    folder = root(VOC | {'ImageSets/Main/default.txt': 'a\n'})
    find_sources(folder)['train']()
    assert 'not used: the images of default. To train on them, too, add them to the split train' in caplog.text
    caplog.clear()
    find_sources(folder, train_split='default')['train']()
    find_sources(folder, val_split='default')['train']()
    assert 'not used' not in caplog.text
