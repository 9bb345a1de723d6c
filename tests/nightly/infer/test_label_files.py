"""Labels of `ghostdet predict --format`, imported by the libraries of the programs that correct them."""
import json
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from ghostdet.cli import door
from tests.conftest import ROOT, tool
from tests.label_folders import assert_same, read, written
from tests.odd_images import ORIENTATION
from tests.other_environments import environment, without_clone
from tests.real_images import BCCD

READERS = dict(
    supervision='''
import supervision
make = supervision.DetectionDataset
found = (make.from_yolo(f'{root}/images/train', f'{root}/labels/train', f'{root}/data.yaml') if kind == 'yolo' else
         make.from_coco(f'{root}/images', f'{root}/annotations/instances_default.json') if kind == 'coco' else
         make.from_pascal_voc(f'{root}/JPEGImages', f'{root}/Annotations'))
boxes = {Path(name).stem: [(found.classes[label], *box.tolist()) for label, box in zip(one.class_id, one.xyxy)]
         for name, one in found.annotations.items()}
''',
    datumaro='''
import datumaro
found = datumaro.Dataset.import_from(root, kind)
names = [label.name for label in found.categories()[datumaro.AnnotationType.label]]
boxes = {one.id: [(names[box.label], box.x, box.y, box.x + box.w, box.y + box.h) for box in one.annotations
                  if box.type == datumaro.AnnotationType.bbox] for one in found}
''',
    label_studio='''
from label_studio_sdk.converter.imports.coco import convert_coco_to_ls
convert_coco_to_ls(f'{root}/annotations/instances_default.json', 'tasks.json',
                   image_root_url='/data/local-files/?d=images')
boxes = {}
for task in json.loads(Path('tasks.json').read_text()):
    assert Path(root, task['data']['image'].removeprefix('/data/local-files/?d=')).is_file(), task
    own = boxes[Path(task['data']['image']).stem] = []
    for one in task['annotations'][0]['result']:
        x, y, width, height = (one['value'][key] / 100 * one[f'original_{side}'] for key, side in
                               (('x', 'width'), ('y', 'height'), ('width', 'width'), ('height', 'height')))
        own.append((one['value']['rectanglelabels'][0], x, y, x + width, y + height))
''',
    labelme='''
from labelme._label_file import LabelFile
boxes = {}
for file in Path(root).glob('*.json'):
    own = LabelFile(str(file))
    boxes[Path(own.image_path).stem] = [(one['label'], *one['points'][0], *one['points'][1]) for one in own.shapes]
''')
FRAME = '''
import json, sys
from pathlib import Path
kind, root = sys.argv[1:]
{reader}
Path('boxes.json').write_text(json.dumps(boxes))
'''


def imported(python, reader, kind, folder, scratch):
    """Boxes that another program's library finds in a folder of labels."""
    scratch.mkdir()
    (scratch / 'read.py').write_text(FRAME.format(reader=READERS[reader]))
    result = subprocess.run([python, 'read.py', kind, folder], cwd=scratch, capture_output=True, text=True,
                            env=dict(without_clone(), QT_QPA_PLATFORM='offscreen', HOME=str(scratch)))
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads((scratch / 'boxes.json').read_text())


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """BCCD's test split; without it, the example's photographs. One is in a subfolder, one has no cells, and one is
    turned by its EXIF orientation.
    """
    root = tmp_path_factory.mktemp('photos')
    names = (BCCD / 'ImageSets/Main/test.txt').read_text().split() if BCCD.is_dir() else []
    files = [BCCD / f'JPEGImages/{name}.jpg' for name in names] or sorted((ROOT / 'examples/blood-cells').glob('*.jpg'))
    (root / 'more').mkdir()
    for number, file in enumerate(files):
        os.symlink(file, root / ('more/blood cells 1.jpg' if number == 1 else file.name))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    with Image.open(files[0]) as image:
        image.rotate(90, expand=True).save(root / 'turned.jpg', exif=exif)
    Image.fromarray(np.full((60, 80), 200, np.uint8)).save(root / 'grey.png')
    return root


@pytest.mark.network
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(('kind', 'readers'), [
    ('yolo', ['supervision', 'datumaro']), ('coco', ['supervision', 'datumaro', 'label_studio']),
    ('voc', ['supervision', 'datumaro']), ('labelme', ['labelme'])])
def test_labels_are_imported_by_other_programs(kind, readers, photos, tmp_path, tmp_path_factory):
    python = environment('labelling', tmp_path_factory)
    assert door.run(tool('predict'), [str(ROOT / 'examples/blood-cells/detector.xml'), str(photos), '--no-pictures',
                                      '--out', str(tmp_path / 'found'), '--format', kind]) == 0
    expected = written(tmp_path / 'found')
    expected['more_blood_cells_1'] = expected.pop('blood cells 1')
    assert sum(map(len, expected.values())) > 40
    folder = tmp_path / f'found/labels_{kind}'
    assert_same(read(folder), expected)
    for reader in readers:
        # datumaro rounds to two digits, and counts the corners of Pascal VOC from 0
        tolerance = 1.01 if (reader, kind) == ('datumaro', 'voc') else 0.02 if reader == 'datumaro' else 0.01
        assert_same(imported(python, reader, kind, folder, tmp_path / reader), expected, tolerance)
