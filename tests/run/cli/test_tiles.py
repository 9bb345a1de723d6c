"""Large pictures through `ghostdet test --tiles` and `ghostdet predict --tiles`."""
import json

import cv2
import numpy as np
import pytest

from ghostdet import Detector
from ghostdet.cli import door
from ghostdet.infer.agreement import TOLERANCES, compare
from ghostdet.infer.tiles import Tiles
from tests.conftest import run_tool, tool

TILES = ['--tiles', '64', '--tile-overlap', '16', '--whole']


@pytest.fixture(scope='module')
def large(shapes, tmp_path_factory):
    """A set of one picture of 128x128: the four of `shapes`, side by side, and 120 more boxes."""
    root = tmp_path_factory.mktemp('large')
    (root / 'annotations').mkdir()
    (root / 'val2017').mkdir()
    content = json.loads((shapes / 'annotations/instances_val2017.json').read_text())
    picture = np.zeros((128, 128, 3), np.uint8)
    corners = {}
    for index, image in enumerate(content['images']):
        left, top = corners[image['id']] = 64 * (index % 2), 64 * (index // 2)
        picture[top:top + 64, left:left + 64] = cv2.imread(str(shapes / 'val2017' / image['file_name']))
    cv2.imwrite(str(root / 'val2017/large.png'), picture)
    boxes = [dict(box, image_id=1, bbox=[box['bbox'][0] + corners[box['image_id']][0],
                                         box['bbox'][1] + corners[box['image_id']][1], *box['bbox'][2:]])
             for box in content['annotations']]
    boxes += [dict(boxes[0], id=1000 + number, bbox=[number, number, 5, 5], area=25, iscrowd=0)
              for number in range(120)]
    content |= dict(images=[dict(id=1, file_name='large.png', width=128, height=128)], annotations=boxes)
    (root / 'annotations/instances_val2017.json').write_text(json.dumps(content))
    return root


def rows(file, kind='annotations'):
    content = json.loads(file.read_text())
    boxes = np.array([(*box['bbox'], box['score'], box['category_id']) for box in
                      (content[kind] if isinstance(content, dict) else content)]).reshape(-1, 6)
    boxes[:, 2:4] += boxes[:, :2]
    return boxes[:, :4], boxes[:, 4], boxes[:, 5]


def test_test_and_predict_find_the_same_in_tiles(large, trained, exported, tmp_path, capsys):
    """A checkpoint, a file and the class in Python."""
    models = dict(checkpoint=trained / 'epoch_2.pth', file=exported / 'detector.onnx')
    found = {}
    for name, model in models.items():
        assert run_tool('test', model, '--data-root', large, '--work-dir', tmp_path / name, *TILES, short=[]) == 0
        found[name] = rows(tmp_path / name / 'detections.bbox.json')
    assert capsys.readouterr().out.count('AR_150') == 2  # as many as the picture has boxes, rounded up
    assert door.run(tool('predict'), [str(models['file']), str(large / 'val2017'), '--out', str(tmp_path / 'out'),
                                      '--threshold', '0', '--no-pictures', *TILES]) == 0
    found['predict'] = rows(tmp_path / 'out/detections.json')
    detections = Detector(models['file'], tiles=Tiles(64, 16, whole=True))(large / 'val2017/large.png', 0)
    found['class'] = detections.boxes, detections.scores, detections.labels + 1
    for name, boxes in found.items():
        agreement = compare([(found['file'], boxes)], TOLERANCES['fp32'])
        assert agreement.is_close, (name, agreement.to_text())
        assert agreement.pairs > 20
    assert detections.size == (128, 128)
    assert detections.boxes[:, 2:].max() > 100


@pytest.mark.parametrize(('words', 'message'), [
    (['--tile-overlap', '16'], '--tile-overlap belongs to --tiles: add --tiles'),
    (['--whole'], '--whole belongs to --tiles'), (['--tiles', '0'], '--tiles 0: expected the side'),
    (['--tiles', '64', '--scale', '64'], '--scale 64 cannot be changed in an evaluation with --tiles'),
    (['--tiles', '64', '--optimize'], 'does not take --optimize'),
    (['--tiles', '64', '--precision', 'bf16'], 'a checkpoint is evaluated in fp32')])
def test_options_that_do_not_fit(words, message, large, trained, tmp_path, capsys):
    assert door.run(tool('test'), [str(trained / 'epoch_2.pth'), '--data-root', str(large), '--work-dir',
                                   str(tmp_path), *words]) == 1
    assert message in capsys.readouterr().err
