"""Damaged annotations are read or refused: no traceback, no silent loss, and what passes can be evaluated."""
import contextlib
import copy
import io
import itertools
import json
import re
from collections import Counter
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdet.datasets import CocoDataset
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ghostdet.data.coco import class_names
from ghostdet.data.sources import find_sources
from ghostdet.errors import UserError
from tests.conftest import examples

FEW = examples(100)
FILES = ('a.png', 'b.png', 'sub/c.png', 'd é.png')
BOXES = ((1, 2, 20, 10), (3.5, 4, 30, 15), (0, 0, 40, 20))
# A text in place of which the file gets so many brackets: no encoder writes them.
DEEP = {f'DEEP {depth}': '[' * depth + ']' * depth for depth in (50, 300, 900, 100_000)}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with pictures in each layout; every example writes its own annotations."""
    root = tmp_path_factory.mktemp('damaged')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(root / 'cache'))
        for below in ('coco/images', 'yolo/images/train', 'voc/JPEGImages'):
            for name in FILES:
                (root / below / name).parent.mkdir(parents=True, exist_ok=True)
                Image.new('RGB', (40, 20)).save(root / below / name)
        for below in ('coco/annotations', 'yolo/labels/train/sub', 'voc/Annotations/sub'):
            (root / below).mkdir(parents=True)
        yield root


# -------------------------------------------------------------------------------------------------------------- the law

def results(root):
    """Yield what passes the check, without and with skip_bad; nothing if it is refused."""
    with contextlib.suppress(UserError):
        for reader in find_sources(root).values():
            source = reader()
            for skip_bad in (False, True):
                with contextlib.suppress(UserError):
                    class_names(source.content, source.split.annotations)
                    yield source.check(skip_bad)


def reported(checked, what):
    """How many records the notes with `what` count."""
    return sum(note.count for note in checked.notes if what in note.what)


def evaluate(checked, folder):
    """Load what passed the check as a run does, and evaluate its own boxes: each is found."""
    checked.summary().encode()
    file = checked.split.annotations
    if checked.changed:
        file = folder / 'used.json'
        file.write_text(json.dumps(checked.content))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        assert len(truth.anns) == len(checked.content['annotations'])
        boxes = [dict(image_id=box['image_id'], category_id=box['category_id'], bbox=box['bbox'], score=0.5)
                 for box in checked.content['annotations'] if not box['iscrowd']]
        evaluation = COCOeval(truth, truth.loadRes(boxes), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        classes = class_names(checked.content, file)
        dataset = CocoDataset(ann_file=str(file), data_prefix=dict(img=''), metainfo=dict(classes=classes), pipeline=[],
                              serialize_data=False)  # it would collect garbage for half a second
    assert len(dataset) == len(checked.content['images'])
    assert sum(len(record['instances']) for record in dataset.data_list) <= len(truth.anns)


# -------------------------------------------------------------------------------------------------------- damaged trees

class Again(str):
    """A key that a dictionary can have twice; an encoder writes it as any text."""

    __slots__ = ()
    __eq__, __hash__ = object.__eq__, object.__hash__


ODD = st.one_of(
    st.sampled_from([
        None, True, False, 0, -0.0, 1, -1, 2, 3, 1.0, 2.5, 1e-320, 1e308, float('nan'), float('inf'), 2 ** 31, 2 ** 53,
        2 ** 63, 10 ** 400, '', ' ', '0', '1', '01', '1.0', '2', 'nan', '1e999', '9' * 400, '٣', 'none', 'cat', *FILES,
        './a.png', 'B.PNG', 'images/a.png', r'sub\c.png', '..', '/', 'a\0b', '\ud800', '\udc80.png', 'x' * 5000, [], {},
        -float('inf'), [[]], [None], [1, 2, 3, 4], ['1', '2', '3', '4'], [[1, 2, 5, 2, 5, 8]], [[1, 2, 5]],
        dict(size=[20, 40], counts=[0, 5, 795]), dict(size=[20, 40], counts='x'),
        dict(size=[-1, 10 ** 20], counts=[1]), dict(id=1), dict(id=[1], name={}), *DEEP]),
    st.integers(), st.floats(), st.text(max_size=5))
ACTIONS = st.sampled_from(['replace'] * 4 + ['delete', 'delete', 'again', 'again', 'swap', 'wrap', 'copy'])
DAMAGE = st.lists(st.tuples(ACTIONS, st.integers(0, 10 ** 6), st.integers(0, 10 ** 6), ODD), min_size=1, max_size=3)


def places(tree):
    """Yield each place of a tree as container and key."""
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from places(value)


def damaged(tree, damage):
    """Return a copy of a tree with a few places changed."""
    tree = copy.deepcopy(tree)
    for action, first, second, odd in damage:
        there = list(places(tree))
        if not there:
            break
        (holder, key), (other, place) = there[first % len(there)], there[second % len(there)]
        if action == 'delete':
            del holder[key]
        elif action == 'again' and isinstance(holder, dict):
            holder[Again(key)] = copy.deepcopy(odd if second % 2 else holder[key])
        elif action == 'again':
            holder.insert(second % (len(holder) + 1), copy.deepcopy(holder[key]))
        else:
            value = dict(replace=odd, wrap=[holder[key]]).get(action, other[place])
            if action == 'swap':
                other[place] = copy.deepcopy(holder[key])
            holder[key] = copy.deepcopy(value)
    return tree


def as_json(tree):
    text = json.dumps(tree)
    for name, brackets in DEEP.items():
        text = text.replace(json.dumps(name), brackets)
    return text.encode()


ENCODINGS = st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16', 'utf-32', 'utf-16-le', 'latin-1'])
BYTES = st.lists(st.tuples(st.integers(0, 10 ** 6), st.integers(0, 3), st.binary(max_size=3) | st.sampled_from(
    [b'"', b',', b'{', b']', b'0', b'\n', b'\0', b'\xff', b'nan', b'<', b'/>', b'&lt;', b'- '])), max_size=3)


def damaged_bytes(content, changes, encoding, end):
    """Return bytes of which a few are others, in another encoding, perhaps cut off."""
    content = content.decode().encode(encoding, 'replace')
    for place, length, new in changes:
        place %= len(content) + 1
        content = content[:place] + new + content[place + length:]
    return content[:end]


RAW = st.tuples(BYTES, ENCODINGS, st.none() | st.integers(0, 2000))


# ----------------------------------------------------------------------------------------------------------------- COCO

GOOD = dict(
    info=dict(year=2024), licenses=[],
    images=[dict(id=index, file_name=name, width=40, height=20) for index, name in enumerate(FILES, 1)],
    annotations=[dict(id=3 * image + index, image_id=image, category_id=1 + index % 2, bbox=list(box),
                      area=box[2] * box[3], iscrowd=0, segmentation=[[1, 2, 21, 2, 21, 12]])
                 for image in (1, 2, 3) for index, box in enumerate(BOXES)],
    categories=[dict(id=1, name='cat', supercategory='pet'), dict(id=2, name='dog', supercategory='pet')])


def all_records(pairs):
    """Return an object of a JSON file; if it has two lists under the same key, with the records of both."""
    found = dict(pairs)
    for key in ('images', 'annotations', 'categories'):
        lists = [value for name, value in pairs if name == key]
        if any(value != lists[0] for value in lists) and all(isinstance(value, list) for value in lists):
            found[key] = list(itertools.chain(*lists))
    return found


def check_coco(root, content):
    file = root / 'annotations/instances_train.json'
    file.write_bytes(content)
    for checked in results(root):
        there = json.loads(content, object_pairs_hook=all_records)
        where = Counter(entry['where'].partition('[')[0] for entry in checked.bad)
        unread = len(checked.bad) - where['images'] - where['annotations']  # these name the picture's file
        assert len(there['annotations']) == (len(checked.content['annotations']) + len(checked.dropped)
                                             + where['annotations'])
        assert len(there['images']) == (len(checked.content['images']) + where['images'] + unread
                                        + reported(checked, 'several ids'))
        without = reported(checked, 'category without boxes')
        assert len(there['categories']) == len(checked.content['categories']) + without
        assert checked.changed or checked.content == json.loads(content)
        assert reported(checked, 'records left out') == len(checked.bad)
        evaluate(checked, root.parent)


@FEW
@given(damage=DAMAGE)
def test_coco_with_damaged_records(folder, damage):
    check_coco(folder / 'coco', as_json(damaged(GOOD, damage)))


@FEW
@given(raw=RAW)
def test_coco_with_damaged_bytes(folder, raw):
    check_coco(folder / 'coco', damaged_bytes(json.dumps(GOOD, ensure_ascii=False).encode(), *raw))


# ----------------------------------------------------------------------------------------------------------------- YOLO

SETTINGS = dict(path='.', train='images/train', val='', names=['cat', 'dog'], nc='2')
LINES = ('0 .5 .5 .5 .5', '1 0.25 0.25 0.5 0.5', '0 0 0 1 0 1 1 0 1')
TOKEN = st.sampled_from(['', '0', '1', '2', '-1', '1.0', '.5', '1.5', 'nan', 'inf', '1e-320', '9' * 400, '٣', 'cat',
                         '\0', '\u2028', '\x0c', '0 1', '# 1', '\ufeff'])
WORDS = st.lists(st.tuples(st.integers(0, 50), TOKEN), max_size=3)


def write_yolo(root, head, labels):
    (root / 'data.yaml').write_bytes(head)
    for name, content in zip(FILES, labels):
        (root / 'labels/train' / name).with_suffix('.txt').write_bytes(content)


def check_yolo(root):
    for checked in results(root):
        used = Counter(box['image_id'] for box in checked.content['annotations'] + checked.dropped)
        wrong = Counter(entry['where'].rpartition(', line ')[0] for entry in checked.bad)
        for image in checked.content['images']:
            label = root / 'labels' / re.sub(r'\.png$', '.txt', image['file_name'].removeprefix('images/'))
            lines = [line for line in label.read_text('utf-8-sig').splitlines() if line.strip()]
            assert len(lines) == used[image['id']] + wrong[str(label)]
        pictures = len(checked.content['images']) + sum(entry['record'].endswith('.png') for entry in checked.bad)
        assert pictures == len(FILES)
        assert checked.changed
        evaluate(checked, root.parent)


@FEW
@given(words=WORDS, raw=RAW)
def test_yolo_with_damaged_labels(folder, words, raw):
    lines = [line.split() for line in LINES]
    for place, token in words:
        line = lines[place % len(lines)]
        line[place // 3 % len(line)] = token
    text = '\n'.join(map(' '.join, lines)).encode()
    good = '\n'.join(LINES).encode()
    write_yolo(folder / 'yolo', json.dumps(SETTINGS).encode(), [good, text, damaged_bytes(text, *raw), b''])
    check_yolo(folder / 'yolo')


@FEW
@given(damage=DAMAGE, raw=st.none() | RAW)
def test_yolo_with_damaged_settings(folder, damage, raw):
    head = as_json(damaged(SETTINGS, damage))
    head = damaged_bytes(head, *raw) if raw else head
    write_yolo(folder / 'yolo', head, ['\n'.join(LINES).encode()] * 3 + [b''])
    check_yolo(folder / 'yolo')


# ------------------------------------------------------------------------------------------------------------------ VOC

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
TAGS = st.sampled_from(['object', 'objects', 'name', 'bndbox', 'part', 'annotation', 'size', 'filename', *CORNERS])
VALUES = st.sampled_from(['', ' ', '0', '1', '-1', '5.5', 'nan', '1e999', '9' * 400, 'cat', 'owl', 'a.png', 'gone.png',
                          '../b.png', 'x' * 5000, '٣', '\ud7ff'])
XML_ACTIONS = st.sampled_from(['tag', 'text', 'text', 'delete', 'again', 'move', 'wrap'])
XML_DAMAGE = st.lists(st.tuples(XML_ACTIONS, st.integers(0, 10 ** 4), st.integers(0, 10 ** 4), TAGS, VALUES),
                      max_size=3)


def voc_tree(name):
    tree = ElementTree.Element('annotation')
    ElementTree.SubElement(tree, 'filename').text = name
    size = ElementTree.SubElement(tree, 'size')
    ElementTree.SubElement(size, 'width').text, ElementTree.SubElement(size, 'height').text = '40', '20'
    for index, (x, y, width, height) in enumerate(BOXES):
        thing = ElementTree.SubElement(tree, 'object')
        ElementTree.SubElement(thing, 'name').text = ('cat', 'dog')[index % 2]
        box = ElementTree.SubElement(thing, 'bndbox')
        for key, value in zip(CORNERS, (x + 1, y + 1, x + width, y + height)):
            ElementTree.SubElement(box, key).text = str(value)
    return tree


def damaged_xml(tree, damage):
    for action, first, second, tag, text in damage:
        holders = [element for element in tree.iter() if len(element)]
        if not holders:
            break
        holder = holders[first % len(holders)]
        child = holder[second % len(holder)]
        if action == 'tag':
            child.tag = tag
        elif action == 'text':
            child.text = text
        elif action == 'again':
            holder.append(copy.deepcopy(child))
        else:
            holder.remove(child)
            if action == 'move':
                tree.append(child)
            elif action == 'wrap':
                ElementTree.SubElement(holder, tag).append(child)
    return ElementTree.tostring(tree)


def check_voc(root):
    files = {file.stem: file for file in (root / 'Annotations').glob('*.xml')}
    for checked in results(root):
        used = Counter(box['image_id'] for box in checked.content['annotations'] + checked.dropped)
        wrong = Counter(entry['where'].rpartition(', object ')[0] or entry['where'] for entry in checked.bad)
        images = {image['file_name']: image['id'] for image in checked.content['images']}
        for stem, file in files.items():
            image = images.get(f'JPEGImages/{stem}.png')
            if image is None:
                assert wrong[str(file)]
                continue
            tree = ElementTree.fromstring(file.read_bytes())
            objects = list(tree.iter('object'))
            assert len(objects) == used[image] + wrong[str(file)]
            assert used[image] <= sum(len(thing.findall('bndbox')) == 1 for thing in objects)
            assert all(any(box in thing.iter() for thing in objects) for box in tree.iter('bndbox'))
        evaluate(checked, root.parent)


@FEW
@given(damage=XML_DAMAGE, raw=st.none() | RAW, deep=st.sampled_from([0, 0, 0, 2000]))
def test_voc_with_damaged_files(folder, damage, raw, deep):
    root = folder / 'voc'
    names = [name for name in FILES if '/' not in name]
    for name in names:
        content = ElementTree.tostring(voc_tree(name))
        if name == 'b.png':
            content = damaged_xml(voc_tree(name), damage)
            content = damaged_bytes(content, *raw) if raw else content
            content = content.replace(b'</bndbox>', b'<a>' * deep + b'</a>' * deep + b'</bndbox>')
        (root / 'Annotations' / name).with_suffix('.xml').write_bytes(content)
    check_voc(root)
