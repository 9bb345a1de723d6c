"""From a checkpoint to a file that is evaluated, through the command lines."""
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostdet.cli import door
from ghostdet.deploy import evaluate, exporter
from ghostdet.infer.agreement import TOLERANCES, compare
from ghostdet.infer.sessions import open_session
from tests.conftest import MINI, run_tool, tool

# fp32 as an export compares; bf16 has 8 bits for a number, and scores of a hardly trained detector are all low.
TOLERANCE = dict(fp32=TOLERANCES['fp32'], bf16=replace(TOLERANCES['fp16'], overlap=0.7, min_score=0, fraction=0.2))


def run(*arguments):
    return door.run(tool('export'), [str(argument) for argument in arguments])


def numbers(file):
    content = json.loads(file.read_text())
    return {key: value for key, value in content['metrics'].items() if value is not None}


@pytest.fixture
def checkpoint(trained):
    return trained / 'epoch_2.pth'


@pytest.fixture(scope='module')
def evaluated(trained, shapes, tmp_path_factory):
    """The table of the checkpoint that files are compared with."""
    work_dir = tmp_path_factory.mktemp('evaluated')
    assert run_tool('test', MINI, trained / 'epoch_2.pth', '--work-dir', work_dir, '--data-root', shapes) == 0
    return work_dir


def detections(work_dir):
    """Boxes, scores and labels of each image of a run."""
    result = {image: [] for image in range(1, 5)}
    for box in json.loads((work_dir / 'detections.bbox.json').read_text()):
        x, y, width, height = box['bbox']
        result[box['image_id']].append((x, y, x + width, y + height, box['score'], box['category_id']))
    tables = (np.array(rows).reshape(-1, 6) for rows in result.values())
    return [(table[:, :4], table[:, 4], table[:, 5]) for table in tables]


@pytest.mark.parametrize(('name', 'more', 'precision'), [
    ('detector.onnx', [], 'fp32'), ('detector.xml', [], 'fp32'), ('detector.ncnn.param', [], 'fp32'),
    ('detector.xml', ['--precision', 'bf16'], 'bf16')])
def test_files_find_what_their_checkpoint_finds(name, more, precision, exported, evaluated, shapes, tmp_path, capsys):
    arguments = [MINI, exported / name, '--work-dir', tmp_path, '--data-root', shapes, '--show-dir', tmp_path / 'shown',
                 *more]
    code = run_tool('test', *arguments, short=[], pictures=True)
    if 'bf16' in more and 'this processor does not support bfloat16' in (error := capsys.readouterr().err):
        assert code == 1, error
        return
    assert code == 0
    expected = numbers(evaluated / 'coco.json')
    assert expected['AP'] > 0
    # Of four pictures, two detections in another order change the AP by up to 0.05. Detections are compared closely.
    assert numbers(tmp_path / 'coco.json')['AP'] == pytest.approx(expected['AP'], abs=0.05)
    agreement = compare(zip(detections(evaluated), detections(tmp_path)), TOLERANCE[precision])
    assert agreement.pairs > 300
    assert agreement.is_close, agreement.to_text()
    assert len(list((tmp_path / 'shown').glob('*.png'))) == 4
    assert (tmp_path / 'detections.png').exists()


def test_pictures_are_not_drawn_over_images(exported, shapes, tmp_path, capsys):
    root = tmp_path / 'data'
    shutil.copytree(shapes, root)
    before = [path.read_bytes() for path in sorted((root / 'val2017').iterdir())]
    assert run_tool('test', MINI, exported / 'detector.xml', '--work-dir', tmp_path / 'run', '--data-root', root,
                    '--show-dir', root / 'val2017', short=[]) == 1
    assert 'a drawn image would overwrite the test image' in capsys.readouterr().err
    assert [path.read_bytes() for path in sorted((root / 'val2017').iterdir())] == before


def test_a_file_of_a_config_that_is_not_packaged_needs_one(exported, shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, 'packaged_configs', dict)
    assert run_tool('test', exported / 'detector.onnx', '--work-dir', tmp_path, '--data-root', shapes, short=[]) == 1
    assert 'was made with the config retinanet_ghostnet_1.1x_mini, which ghostdet does' in capsys.readouterr().err


@pytest.mark.parametrize(('more', 'options', 'message'), [
    (['--optimize'], [], 'an exported file does not take --optimize'),
    ([], ['model.test_cfg.score_thr=0.5'], 'export the checkpoint'),
    ([], ['test_dataloader.dataset.pipeline.1.scale=(64,64)'], 'export the checkpoint'),
    (['--precision', 'bf16'], [], 'bf16 needs a file of "ghostdet export --format openvino"')])
def test_options_that_an_exported_file_does_not_have(more, options, message, exported, shapes, tmp_path, capsys):
    assert run_tool('test', MINI, exported / 'detector.onnx', '--work-dir', tmp_path, '--data-root', shapes, *more,
                    short=[], options=options) == 1
    assert message in capsys.readouterr().err


def test_damaged_image_is_named(exported, shapes, tmp_path, capsys):
    root = tmp_path / 'data'
    shutil.copytree(shapes, root)
    image = next((root / 'val2017').iterdir())
    image.write_bytes(image.read_bytes()[:-30])
    assert run_tool('test', MINI, exported / 'detector.xml', '--work-dir', tmp_path / 'run', '--data-root', root,
                    short=[]) == 1
    assert image.name in capsys.readouterr().err


def test_prediction_fills_a_file_for_several_images(checkpoint, shapes, exported, tmp_path, capsys):
    out, photos = tmp_path / 'detector.onnx', tmp_path / 'photos'
    assert run(MINI, checkpoint, '--format', 'onnx', '--out', out, '--batch', 3, '--shape', 128, 128,
               '--images', shapes / 'val2017', '--cfg-options', 'model.test_cfg.score_thr=0') == 0
    assert door.run(tool('check'), [str(out)]) == 0
    assert 'right: the answer to the built-in picture' in capsys.readouterr().out
    shutil.copytree(shapes / 'val2017', photos)
    (photos / '0.png').write_bytes(b'no image')
    result = []
    for name, file in (('one', exported / 'detector.onnx'), ('three', out)):
        door.run(tool('predict'), [str(file), str(photos), '--out', str(tmp_path / name), '--threshold', '0'])
        result.append(json.loads((tmp_path / name / 'detections.json').read_text()))
    one, three = result
    assert len(three['images']) == 4
    assert [image['file_name'] for image in three['images']] == [image['file_name'] for image in one['images']]
    assert len(three['info']['left_out']) == 1
    assert len(three['annotations']) == len(one['annotations']) > 0


def test_int8_file_by_the_checkpoints_own_config(checkpoint, shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(exporter.TOLERANCES, 'int8', exporter.TOLERANCES['int8'].__class__(1, 0.5, 0.25, 0, 0.25))
    out, handler = tmp_path / 'new' / 'detector.xml', logging.NullHandler()
    logging.getLogger('nncf').addHandler(handler)
    assert run('--out', out, '--shape', 60, 90, '--precision', 'int8', checkpoint, '--cfg-options',
               'model.test_cfg.score_thr=0.01') == 0
    assert handler.level == logging.NOTSET  # another program's; pytest has one, too
    shown = capsys.readouterr()
    assert f'{out} and {out.with_suffix(".bin")}' in shown.out
    assert f'comparing on images from {shapes}/train2017 (8 found)' in shown.err
    assert sorted(path.name for path in out.parent.iterdir()) == ['detector.bin', 'detector.xml']
    manifest = open_session(out).manifest
    assert (manifest.precision, manifest.canvas, manifest.score_threshold) == ('int8', (64, 96), 0.01)
    assert manifest.classes == ('disc', 'square', 'triangle')
    assert manifest.versions['torch'] == torch.__version__.split('+')[0]
    assert 'FakeQuantize' in out.read_text()


def test_a_file_that_finds_something_else_is_not_kept(trained, exported, shapes, tmp_path, monkeypatch, capsys):
    """As that of the next epoch does."""
    monkeypatch.setattr(exporter, '_make', lambda *others: Path(shutil.copy(exported / 'detector.onnx', others[-1])))
    out = tmp_path / 'detector.onnx'
    out.write_bytes(b'an older file')
    assert run(MINI, trained / 'epoch_1.pth', '--format', 'onnx', '--out', out, '--images', shapes / 'train2017',
               '--cfg-options', 'model.test_cfg.score_thr=0') == 1
    assert 'detects something else than the checkpoint: 8 images' in (error := capsys.readouterr().err)
    assert 'without a partner' in error
    assert [path.name for path in tmp_path.iterdir()] == ['detector.onnx']
    assert out.read_bytes() == b'an older file'


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--format', 'onnx', '--out', 'a.xml'], '--out a.xml must end in .onnx'),
    (['--format', 'openvino', '--out', 'a.onnx'], 'must end in .xml'),
    (['--format', 'ncnn', '--out', 'a.param'], 'must end in .ncnn.param'),
    (['--format', 'onnx', '--precision', 'fp16', '--out', 'a.onnx'], '--precision fp16 works only with --format ncnn'),
    (['--format', 'onnx', '--out', 'a.onnx', '--precision', 'int8'], 'int8 works only with --format openvino'),
    (['--format', 'onnx', '--out', 'a.onnx', '--batch', '0'], '--batch 0: expected at least 1'),
    (['--format', 'ncnn', '--out', 'a.ncnn.param', '--batch', '2'], 'one image at a time'),
    (['--format', 'onnx', '--out', 'a.onnx', '--shape', '0', '64'], '--shape (0, 64): expected a height and a width'),
    (['--format', 'onnx', '--out', 'a.onnx', '--images', 'nowhere'], 'no images in'),
    (['--format', 'openvino', '--out', 'a.xml', '--precision', 'int8'], 'finds nothing with a score of 0.3 or more'),
    (['--format', 'onnx', '--out', 'a.onnx', '--cfg-options', 'model.test_cfg.nms.type=soft_nms'],
     'it has test_cfg.nms='),
    (['--format', 'onnx', '--out', 'a.onnx', '--cfg-options', 'test_dataloader.dataset.pipeline.1.type=Pad'],
     'can only load an'),
    (['--format', 'onnx', '--out', 'a.onnx', '--cfg-options', 'test_dataloader.dataset.pipeline.1.interpolation=area'],
     'can only resize bilinearly')])
def test_what_cannot_be_exported_is_told(arguments, message, checkpoint, shapes, tmp_path, monkeypatch, capsys):
    if '--images' not in arguments:
        arguments = [*arguments[:4], '--images', shapes / 'train2017', *arguments[4:]]
    monkeypatch.chdir(tmp_path)
    assert run(MINI, checkpoint, *arguments) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_images_of_other_classes_are_not_compared_on(checkpoint, tmp_path, capsys):
    """As where a run took its classes from other data than the config's."""
    (tmp_path / 'own.py').write_text(f"_base_ = '{MINI}'\nmetainfo = dict(classes=('cat', 'dog'))\n"
                                     'train_dataloader = dict(dataset=dict(metainfo=metainfo))\n')
    assert run(tmp_path / 'own.py', checkpoint, '--format', 'onnx', '--out', tmp_path / 'a.onnx') == 1
    assert 'was trained on the classes disc, square, triangle, but the config' in capsys.readouterr().err


def test_missing_packages_are_named(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exporter, 'find_spec', lambda name: None if name in ('onnxscript', 'nncf') else name)
    assert run(MINI, checkpoint, '--format', 'openvino', '--out', tmp_path / 'a.xml', '--precision', 'int8') == 1
    shown = capsys.readouterr().err
    assert 'the export needs onnxscript, nncf, not installed here. Run pip install "ghostdet[export]"' in shown


@pytest.mark.nightly
@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_file_for_several_images(precision, checkpoint, shapes, evaluated, tmp_path, monkeypatch):
    monkeypatch.setitem(exporter.TOLERANCES, 'int8', exporter.TOLERANCES['int8'].__class__(1, 0.5, 0.25, 0, 0.5))
    out = tmp_path / 'detector.xml'
    assert run(MINI, checkpoint, '--format', 'openvino', '--out', out, '--batch', 3, '--images', shapes / 'val2017',
               '--precision', precision, '--cfg-options', 'model.test_cfg.score_thr=0') == 0
    assert open_session(out).manifest.batch == 3
    # the metrics of four images
    assert run_tool('test', MINI, out, '--work-dir', tmp_path / 'run', '--data-root', shapes, short=[]) == 0
    assert numbers(tmp_path / 'run/coco.json')['AP'] == pytest.approx(numbers(evaluated / 'coco.json')['AP'], abs=0.05)
    if precision == 'fp32':
        agreement = compare(zip(detections(evaluated), detections(tmp_path / 'run')), TOLERANCE['fp32'])
        assert agreement.is_close, agreement.to_text()
