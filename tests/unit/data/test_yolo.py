"""YOLO's label files become COCO content; what is wrong in them is listed with file and line."""
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from PIL import Image

from ghostdet.data.yolo import file_name, is_yolo, label_file, read_yolo, yolo_names, yolo_splits
from ghostdet.errors import DataError
from ghostdet.images.listing import is_image
from tests.conftest import examples
from tests.odd_images import saved

IMAGE = saved(Image.new('1', (200, 100)), 'PNG')


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A function that writes files below a folder and returns it: images of 200x100 pixels; other files are empty."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def write(*files, **texts):
        folder = tmp_path / 'set'
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(IMAGE if is_image(name) else b'')
        for name, text in texts.get('texts', {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder
    return write


def read(folder, files):
    return read_yolo(folder, files, yolo_names(folder))


def names_of(folder, splits):
    return {split: [file_name(folder, file) for file in files] for split, files in splits.items()}


# --------------------------------------------------------------------------------------------------------------- splits

@pytest.mark.parametrize(('images', 'splits'), [
    (['images/train/b.jpg', 'images/train/a.PNG', 'images/val/c.jpg'],
     dict(train=['images/train/a.PNG', 'images/train/b.jpg'], val=['images/val/c.jpg'])),
    (['train/images/a.jpg', 'valid/images/b.jpg', 'test/images/c.jpg'],
     dict(train=['train/images/a.jpg'], val=['valid/images/b.jpg'], test=['test/images/c.jpg'])),
    (['images/train2017/a.jpg'], dict(train2017=['images/train2017/a.jpg'])),
    (['images/a.jpg', 'images/batch/b.jpg'], dict(train=['images/a.jpg', 'images/batch/b.jpg']))])
def test_yolo_splits_by_folder(root, images, splits):
    folder = root(*images, *(name.replace('images', 'labels') + '.txt' for name in images))
    assert is_yolo(folder)
    assert names_of(folder, yolo_splits(folder)) == splits


def test_yolo_splits_files_are_absolute_wherever_the_command_runs(root, monkeypatch):
    folder = root('images/train/a.jpg', 'labels/train/a.txt')
    monkeypatch.chdir(folder)
    assert yolo_splits(Path()) == dict(train=[folder / 'images/train/a.jpg'])


IMAGES = ('train/images/a.jpg', 'valid/images/b.jpg')
BOTH = dict(train=['train/images/a.jpg'], val=['valid/images/b.jpg'])


@pytest.mark.parametrize(('text', 'splits'), [
    ('train: train/images\nval: valid/images', BOTH),
    ('train: ../train/images\nval: ../valid/images\ntest: ../test/images', BOTH),  # Roboflow; there is no test split
    ('train: ./train/images\nvalid: [valid/images]', BOTH),
    ('path: ../datasets/set\ntrain: train/images\nval:\n - valid/images\n - valid', BOTH),  # path of another machine
    ('path: train\ntrain: images\nval: valid\\images\ntest:', BOTH),
    ('train: list.txt\nval: null', dict(train=['gone.jpg', 'train/images/a.jpg', 'valid/images/b.jpg'])),
    ('names: [cat]', BOTH),
    ('\ufefftrain: train\nval: train', dict(train=['train/images/a.jpg'], val=['train/images/a.jpg']))])
@pytest.mark.parametrize('name', ['data.yaml', 'data.yml', 'dataset.yaml'])
def test_yolo_splits_by_yaml(root, text, splits, name):
    folder = root(*IMAGES,
                  texts={name: text, 'list.txt': '\n./valid/images/b.jpg\r\n../train/images/a.jpg\ngone.jpg\n'})
    assert is_yolo(folder)
    assert names_of(folder, yolo_splits(folder)) == splits


@pytest.mark.parametrize('entry',
                         ['/content/drive/set/train/images', 'C:\\\\data\\\\train\\\\images', '../../set/train/images'])
def test_yolo_splits_the_folders_of_another_machine_are_left_out(entry, root, caplog):
    folder = root('train/images/a.jpg', 'valid/images/b.jpg', texts={
        'data.yaml': f'train: "{entry}"\nval: valid/images\nnames: [cell]\n'})
    with caplog.at_level('INFO', 'ghostdet'):
        assert names_of(folder, yolo_splits(folder)) == dict(train=['train/images/a.jpg'], val=['valid/images/b.jpg'])
    assert f'is not there; {folder}/train/images is taken' in caplog.text
    assert 'valid' not in caplog.text


def test_yolo_splits_the_images_of_all_splits_are_not_taken_for_those_of_one(root):
    folder = root('images/a.jpg', texts={'data.yaml': 'train: /elsewhere/images\nnames: [cell]\n'})
    with pytest.raises(DataError, match='train: /elsewhere/images does not exist'):
        yolo_splits(folder)


def test_read_yolo_two_images_with_one_label_file_are_reported(root):
    folder = root('images/a.jpg', 'images/a.png', 'images/b.png', texts={'labels/a.txt': '0 0.5 0.5 0.2 0.2'})
    content, problems = read(folder, yolo_splits(folder)['train'])
    assert [image['file_name'] for image in content['images']] == ['images/a.jpg', 'images/b.png']
    assert len(content['annotations']) == 1
    assert [problem['problem']
            for problem in problems] == ['is the label file of a.jpg and of a.png: rename one image']


def test_yolo_splits_hidden_files_are_no_images(root):
    folder = root('images/a.jpg', 'images/._a.jpg', 'images/.checkpoints/a.jpg', 'labels/a.txt')
    assert names_of(folder, yolo_splits(folder)) == dict(train=['images/a.jpg'])


def test_yolo_splits_images_beside_the_folder_are_found_and_have_absolute_names(root, tmp_path):
    folder = root('../pool/images/a.jpg', texts={'data.yaml': 'train: ../pool/images\nnames: [cat]',
                                                 '../pool/labels/a.txt': '0 .5 .5 .5 .5'})
    files = yolo_splits(folder)['train']
    content, problems = read(folder, files)
    assert content['images'][0]['file_name'] == str(tmp_path / 'pool/images/a.jpg')
    assert (len(content['annotations']), problems) == (1, [])


@pytest.mark.parametrize(('text', 'message'), [
    ('train: nowhere', r'train: nowhere does not exist\. Looked for /.*set/nowhere\. Correct train: or path:'),
    ('train: train/images\nval: ../nowhere',
     r'val: \.\./nowhere does not exist\. Looked for /.*/nowhere, /.*set/nowhere\.'),
    ('train: empty', 'train: empty has no images'), ('train: {a: b}', 'neither a path nor a list of paths'),
    ('train: [[a]]', 'neither a path'), ('train: [', r'data\.yaml cannot be read as YAML'),
    ('- a', 'not a YOLO data set'), ('[' * 1000, 'cannot be read as YAML'), (b'\xff\xfe\xfa', 'cannot be read as YAML'),
    ('a: &a [*a]', 'cannot be read as YAML'),
    ('names: [cat]\nnames: [dog]', 'cannot be read as YAML .*a key is there twice'),
    ('a: "\\UFFFFFFFF"', 'cannot be read as YAML'), ('train: bad.txt', r'list of images .*bad\.txt cannot be read')])
def test_yolo_splits_a_yaml_that_leads_nowhere_is_refused(root, text, message):
    folder = root('train/images/a.jpg', 'empty/a.txt', texts={'data.yaml': text, 'bad.txt': b'\xff\xfe\xfa'})
    with pytest.raises(DataError, match=message):
        yolo_splits(folder)


def test_yolo_splits_a_folder_without_images_is_refused(root):
    with pytest.raises(DataError, match=r'no images where YOLO has them\. Looked for train: and val: in data\.yaml'):
        yolo_splits(root('labels/a.txt', 'images/b.txt'))


def test_read_yolo_all_in_one_folder(root):
    folder = root('a.jpg', 'b.jpg', texts={'classes.txt': 'cat\n', 'a.txt': '0 .5 .5 .5 .5'})
    assert is_yolo(folder)
    content, problems = read(folder, yolo_splits(folder)['train'])
    assert ([image['file_name'] for image in content['images']], len(content['annotations'])) == (['a.jpg', 'b.jpg'], 1)
    assert not problems


def test_read_yolo_a_yaml_of_another_program_beside_images_and_labels(root):
    folder = root('images/a.jpg', texts={'data.yaml': 'colour: red', 'labels/a.txt': '0 .5 .5 .5 .5'})
    assert is_yolo(folder)
    content, problems = read(folder, yolo_splits(folder)['train'])
    assert (len(content['annotations']), problems) == (1, [])


# -------------------------------------------------------------------------------------------------------------- classes

@pytest.mark.parametrize(('texts', 'names'), [
    ({'data.yaml': 'names: [cat, no, 1]'}, {0: 'cat', 1: 'no', 2: '1'}),
    ({'data.yaml': 'nc: 2\nnames:\n  1: dog\n  0: cat'}, {0: 'cat', 1: 'dog'}),
    ({'data.yaml': 'nc: 2'}, {0: 'class 0', 1: 'class 1'}),
    ({'data.yaml': 'train: images\nnc: 2', 'classes.txt': '\ufeffcat\r\nbig dog\n\n'}, {0: 'cat', 1: 'big dog'}),
    ({'labels/classes.txt': 'cat\n\ndog'}, {0: 'cat', 1: 'class 1', 2: 'dog'}),
    ({'data.yaml': 'names: [cat]', 'classes.txt': 'dog'}, {0: 'cat'}),
    ({'labels/a.txt': '7 .5 .5 .5 .5\nx\n3.0 .5 .5 .5 .5\n-1 0 0 0 0\n'}, {3: 'class 3', 7: 'class 7'})])
def test_yolo_names_from_each_source(root, texts, names):
    folder = root('images/a.jpg', 'labels/a.txt', texts=texts)
    assert yolo_names(folder) == names
    content, _ = read(folder, yolo_splits(folder)['train'])
    assert content['categories'] == [dict(id=index + 1, name=name) for index, name in names.items()]


@pytest.mark.parametrize(('text', 'message'), [
    ('nc: 3\nnames: [cat, dog]', r'data\.yaml: nc is 3, but there are 2 names \(cat, dog\)'),
    ('nc: x', 'nc is not a number'),
    ('nc: 999999999', 'nc is not a number of classes from 1 to 100000'), ('nc: [2]', 'nc is not a number'),
    ('names: cat', 'names is neither'), ('names: {a: cat}', 'names is neither'),
    ('names: [[cat]]', 'names has an entry'),
    ('names: {-1: cat}', 'names has an entry .* -1'), ('names: {0: cat, 00: dog}', 'a number twice'),
    ('names: [cat, ""]', 'names has an entry .* 1'), ('kpt_shape: x\nnc: 1', 'kpt_shape is not a list'),
    ('kpt_shape: [-1, 3]\nnc: 1', 'kpt_shape is not a list')])
def test_read_yolo_names_that_are_wrong_are_refused(root, text, message):
    with pytest.raises(DataError, match=message):
        read(root('images/a.jpg', texts={'data.yaml': text}), [])


# --------------------------------------------------------------------------------------------------------------- labels

@pytest.mark.parametrize(('image', 'label'), [
    ('images/train/a.jpg', 'labels/train/a.txt'), ('train/images/a.b.jpg', 'train/labels/a.b.txt'),
    ('images/x/images/a.jpg', 'images/x/labels/a.txt'), ('images/a.jpg', 'images/a.txt'), ('a.jpg', 'a.txt')])
def test_label_file_where_labels_are(root, image, label):
    folder = root(image, label)
    assert label_file(folder / image) == folder / label
    (folder / label).unlink()
    assert label_file(folder / image) is None


def read_lines(root, text, head='names: [cat, dog]'):
    folder = root('images/a.jpg', texts={'data.yaml': head, 'labels/a.txt': text})
    return read(folder, [folder / 'images/a.jpg'])


def test_read_yolo_boxes_and_polygons_in_pixels(root):
    content, problems = read_lines(root, '0 0.5 0.5 0.2 0.4\n\n1.0\t.1 .1 .5 .1 .5 .9\n1 0 0 1 0 1 1 0 1.0005\n')
    assert content['images'] == [dict(id=1, file_name='images/a.jpg', width=200, height=100, size_from_file=True)]
    box, triangle, square = content['annotations']
    assert box['bbox'] == pytest.approx([80, 30, 40, 40])
    assert (box['id'], box['image_id'], box['category_id'], box['area']) == (1, 1, 1, pytest.approx(1600))
    assert 'segmentation' not in box
    assert triangle['bbox'] == pytest.approx([20, 10, 80, 80])
    assert triangle['area'] == pytest.approx(3200)
    assert triangle['segmentation'] == [pytest.approx([20, 10, 100, 10, 100, 90])]
    assert (triangle['category_id'], square['area']) == (2, pytest.approx(20000, rel=1e-3))
    assert not problems


@pytest.mark.parametrize(('line', 'problem'), [
    ('0 .5 .5 .2', 'has 4 numbers: expected 5'), ('0 .5 .5 .2 .2 .9', 'has 6 numbers, as predictions'),
    ('0 .5 .5 .2 .2 .2 .2 .2', 'has 8 numbers'), ('0', 'has 1 numbers'),
    ('2 .5 .5 .2 .2', 'has the class 2, but the classes are 0, 1'),
    ('-1 .5 .5 .2 .2', "class '-1'"), ('0.5 .5 .5 .2 .2', "class '0.5'"), ('1e300 .5 .5 .2 .2', "class '1e300'"),
    ('cat .5 .5 .2 .2', "'cat', which is not a number"), ('0 nan .5 .2 .2', "'nan', which is not a number"),
    ('0 inf .5 .2 .2', "'inf'"), ('0 .5 .5 x .2', "'x'"), ('0 1.002 .5 .2 .2', 'coordinate 1.002'),
    ('0 .5 -0.002 .2 .2', 'coordinate -0.002'), ('0 120 60 30 40', 'must be relative'), ('0 .5 .5 0 .2', 'has no area'),
    ('0 .5 .5 .2 -0.0005', 'has no area'), ('0 .1 .1 .1 .5 .1 .9', 'has no area'), ('nan .5 .5 .2 .2', "'nan'")])
def test_read_yolo_a_line_that_is_wrong_is_listed_and_the_others_stay(root, line, problem):
    content, problems = read_lines(root, f'0 .5 .5 .2 .4\n{line}\n1 .5 .5 .2 .4')
    assert [box['id'] for box in content['annotations']] == [1, 2]
    assert [(entry['where'].rsplit('/', 1)[1], entry['record']) for entry in problems] == [('a.txt, line 2', line)]
    assert problem in problems[0]['problem']


def test_read_yolo_keypoints_are_left_out(root):
    head = 'names: [cat]\nkpt_shape: [2, 3]'
    content, problems = read_lines(root, '0 .5 .5 .2 .4 .1 .1 2 .9 .9 2\n0 .5 .5 .2 .4\n0 .1 .1 .5 .1 .5 .9', head)
    assert [box['bbox'] for box in content['annotations']] == 2 * [pytest.approx([80, 30, 40, 40])]
    assert 'has 7 numbers: expected 11' in problems[0]['problem']


def test_read_yolo_images_and_label_files_without_a_partner(root):
    folder = root('images/a.jpg', 'images/b.jpg', 'images/other.jpg', 'labels/b.txt', 'labels/gone.txt',
                  'labels/lost.txt', 'labels/other.txt', texts={'classes.txt': 'cat', 'labels/classes.txt': 'cat'})
    content, problems = read(folder, [folder / 'images/a.jpg', folder / 'images/b.jpg'])
    assert len(content['images']) == 2
    (problem,) = problems
    assert problem['where'] == str(folder / 'labels')
    assert problem['problem'].startswith('2 label files have no image')
    assert problem['record'] == ['gone.txt', 'lost.txt']


def test_read_yolo_an_image_that_cannot_be_read_or_whose_labels_cannot_is_left_out(root):
    folder = root('images/a.jpg', 'images/b.jpg', 'images/c.jpg', texts={
        'classes.txt': 'cat', 'labels/a.txt': b'\xff\xfe', 'labels/c.txt': '0 .5 .5 .2 .4'})

    (folder / 'images/b.jpg').write_bytes(b'not an image')
    content, problems = read(folder, sorted(folder.glob('images/*')))
    assert [image['file_name'] for image in content['images']] == ['images/c.jpg']
    assert content['annotations'][0]['image_id'] == content['images'][0]['id'] == 1
    assert [entry['where'].removeprefix(f'{folder}/') for entry in problems] == ['labels/a.txt', 'images/b.jpg']


# ----------------------------------------------------------------------------------------------------------------- fuzz

TOKENS = st.one_of(st.floats(-0.01, 1.01).map(str), st.integers(-2, 3).map(str), st.floats().map(str),
                   st.text(st.characters(exclude_categories=['Z', 'Cc', 'Cs', 'Cf']), min_size=1, max_size=4))
LINES = st.lists(st.lists(TOKENS, min_size=1, max_size=9).map(' '.join), max_size=5)


@examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES)
def test_read_yolo_any_lines_give_boxes_or_problems(root, lines):
    content, problems = read_lines(root, '\n'.join(lines))
    assert len(content['annotations']) + len(problems) == len(lines)
    assert [entry['record'] for entry in problems] == [line for k, line in enumerate(lines, 1)
                                                       if any(entry['where'].endswith(f'line {k}')
                                                              for entry in problems)]
    for box in content['annotations']:
        assert min(box['bbox'][2:]) > 0
        assert box['area'] > 0
        assert box['category_id'] in (1, 2)


@examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(label=st.binary(max_size=60), head=st.one_of(st.binary(max_size=40), st.dictionaries(
    st.sampled_from(['train', 'val', 'test', 'path', 'names', 'nc', 'kpt_shape']),
    st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3),
                 max_leaves=4))))
def test_read_yolo_any_files_are_read_or_refused(root, label, head):
    head = head if isinstance(head, bytes) else '\n'.join(f'{key}: {value!r}' for key, value in head.items())
    folder = root('images/a.jpg', texts={'data.yaml': head, 'labels/a.txt': label})
    try:
        content, problems = read(folder, yolo_splits(folder).get('train', []))
    except DataError:
        return
    assert content['annotations'] or problems or not label.decode('utf-8-sig').strip() or not content['images']
