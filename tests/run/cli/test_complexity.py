"""`ghostdet complexity` through its command line, and the figures of the papers."""
import csv
import json
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import nn

from ghostdet.cli import door
from ghostdet.models.cheap import CHEAP
from ghostdet.training.counting import imagenet, measure
from tests.conftest import MINI, ROOT, tool

COCO = str(ROOT / 'configs/retinanet_ghostnet_1.1x_coco.py')
FASTER_MINI = str(ROOT / 'configs/faster-rcnn_ghostnet_1.1x_mini.py')
GHOST_HEAD = str(ROOT / 'configs/retinanet_ghostnet_1.1x_ghost-head_coco.py')
FASTER = str(Path(mmdet.__file__).parent / '.mim/configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')


def run(*arguments):
    return door.run(tool('complexity'), [*map(str, arguments)])


@pytest.mark.parametrize(('backbone', 'to_c5', 'to_last', 'macs', 'parameters'), [
    (dict(type='GhostNet', width=0.5), 38.6, 40.4, 42.3, 2.587),
    (dict(type='GhostNet'), 131.1, 138.6, 141.2, 5.183),
    (dict(type='GhostNet', width=1.1), 155.2, 164.4, 167.0, 5.856),
    (dict(type='GhostNet', width=1.1, rounding='tensorflow'), 152.7, 161.8, 164.5, 5.85),
    (dict(type='GhostNet', width=1.3), 211.4, 224.1, 227.0, 7.359),
    (dict(type='RepGhostNet', width=1.11), 158.3, 167.5, 170.1, 4.5236),
    (dict(type='GhostNetV2'), 157.0, 164.5, 167.0, 6.157),
    (dict(type='GhostNetV3'), 157.0, 164.5, 167.0, 6.1476),
    (dict(type='mmdet.MobileNetV2'), None, None, 300.8, 3.505),
    (dict(type='TruncatedMobileNetV3', arch='large'), None, None, 216.6, 5.483),
], ids=str)
def test_classifiers_are_the_papers(backbone, to_c5, to_last, macs, parameters):
    result = imagenet(backbone)
    assert result.classifier.macs / 1e6 == pytest.approx(macs, abs=0.06)
    assert result.classifier.parameters / 1e6 == pytest.approx(parameters, rel=1e-3)
    for value, expected in ((result.macs_to_c5, to_c5), (result.macs_to_last_conv, to_last)):
        assert value is None if expected is None else value / 1e6 == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize('shape', [(800, 1333), (1, 1)])
def test_parts_are_the_whole_detector_on_the_padded_image(shape):
    result = measure(COCO, shape)
    assert result.padded == ((800, 1344) if shape[0] == 800 else (32, 32))
    assert result.total.parameters == sum(p.numel() for p in MODELS.build(Config.fromfile(COCO).model).parameters())


def test_two_stages_on_a_stated_number_of_proposals():
    result = measure(FASTER)
    pixels = sum(h * w for h, w in ((200, 336), (100, 168), (50, 84), (25, 42), (13, 21)))
    rpn = pixels * (256 * 256 * 9 + 256 * (3 + 12))
    boxes = 1000 * (256 * 49 * 1024 + 1024 * 1024 + 1024 * (81 + 320))
    assert result.proposals == 1000
    assert result.parts['head'].macs == rpn + boxes
    assert any('1000 proposals' in note for note in result.notes())
    assert result.figures()['imagenet_macs'] is None  # a ResNet


def test_the_table_and_its_three_files(tmp_path, capsys):
    assert run(COCO, MINI, '--out', tmp_path / 'new/table.json') == 0
    text = capsys.readouterr().out
    for ending in ('csv', 'md'):
        assert run(MINI, '--out', tmp_path / f'new/table.{ending}') == 0
    assert 'padded to 800x1344 (pad_size_divisor 32)' in text
    assert all(len(line) == len(text.splitlines()[0]) for line in text.splitlines()[:4])
    rows = json.loads((tmp_path / 'new/table.json').read_text())
    assert [row['config'] for row in rows] == [Path(COCO).stem, Path(MINI).stem]
    assert rows[0]['imagenet_macs_to_last_conv'] / 1e6 == pytest.approx(164.4, abs=0.06)
    with (tmp_path / 'new/table.csv').open() as opened:
        assert list(csv.DictReader(opened)) == [{k: '' if v is None else str(v) for k, v in rows[1].items()}]
    assert f'| {Path(MINI).stem} | ' in (tmp_path / 'new/table.md').read_text()


@pytest.mark.parametrize(('arguments', 'message'), [
    ((COCO, '--out', 'table.txt'), '--out table.txt: expected a file name that ends in one of .json, .csv, .md'),
    (('absent.py',), 'there is no config'),
    ((COCO, '--shape', 0, 10), '--shape 0 10: height and width must be at least 1'),
    ((FASTER.replace('faster_rcnn/faster-', 'mask_rcnn/mask-'),), 'the MaskRCNN of'),
])
def test_what_is_wrong_is_told(arguments, message, capsys):
    assert run(*arguments) == 1
    assert message in capsys.readouterr().err


def test_savings_of_ghost_convolutions_are_told(tmp_path, capsys):
    assert run(GHOST_HEAD, COCO, '--out', tmp_path / 'table.json') == 0
    ghost, plain = json.loads((tmp_path / 'table.json').read_text())
    assert (ghost['plain_parameters'], ghost['plain_macs']) == (plain['total_parameters'], plain['total_macs'])
    assert plain['plain_macs'] is None
    saved = [1 - ghost[f'total_{figure}'] / plain[f'total_{figure}'] for figure in ('parameters', 'macs')]
    shown = capsys.readouterr().out
    assert f'saves {saved[0]:.1%} of the 12.352 M parameters and {saved[1]:.1%} of the 161.535 G MACs' in shown
    assert ghost['backbone_macs'] == plain['backbone_macs']
    # Both convolutions of a tower layer and of the neck halve, but for the cheap operations: 9 of 2 x 9 x 256
    # multiplications.
    lateral = ghost['neck_macs'] / plain['neck_macs']
    assert 0.5 < lateral < 0.51


def test_savings_in_two_stages_by_a_cheap_operation_of_ones_own(tmp_path):
    @CHEAP.register_module('scale')
    class Scale(nn.Module):
        def __init__(self, channels, times, dw_size):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(channels * times, 1, 1, 1))

        def forward(self, x):
            return self.weight[:, 0] * x
    config = tmp_path / 'scaled.py'
    config.write_text(f"_base_ = '{FASTER_MINI}'\nmodel = dict(neck=dict(conv_cfg=dict(type='GhostConv', "
                      "cheap='scale')))\n")
    try:
        ghost, plain = measure(str(config), (64, 64)), measure(FASTER_MINI, (64, 64))
    finally:
        CHEAP.module_dict.pop('scale')
    assert ghost.plain == plain.total
    assert ghost.parts['head'] == plain.parts['head']
    # P2..P5, of sides 16, 8, 4, 2, have two convolutions each: halved, and one multiplication for each cheap value.
    assert ghost.parts['neck'].macs == plain.parts['neck'].macs // 2 + sum(2 * 32 * side ** 2 for side in (16, 8, 4, 2))


def test_a_network_that_does_not_run_is_told(tmp_path, capsys):
    config = tmp_path / 'tood.py'
    ghost = "model = dict(bbox_head=dict(conv_cfg=dict(type='GhostConv')))"
    config.write_text(f"_base_ = 'mmdet::tood/tood_r50_fpn_1x_coco.py'\n{ghost}\n")
    assert run(config) == 1
    message = capsys.readouterr().err
    assert 'does not run, so its work cannot be counted' in message
    assert 'a GhostConv has no single weight' in message


def test_a_folder_is_no_file_to_write(tmp_path, capsys):
    (tmp_path / 'folder.md').mkdir()
    assert run(MINI, '--out', tmp_path / 'folder.md') == 1
    assert f'--out {tmp_path}/folder.md is a folder: give a file name' in capsys.readouterr().err
    (tmp_path / 'file').touch()
    assert run(MINI, '--out', tmp_path / 'file/x.md') == 1
    assert 'cannot make the folder' in capsys.readouterr().err
