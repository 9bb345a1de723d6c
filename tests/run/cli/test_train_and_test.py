"""The tools through their command lines: what a run leaves, how it goes on, and what stops it."""
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ghostdet.cli import door
from ghostdet.data.shapes import ShapesSet
from ghostdet.weights import catalogue
from tests.conftest import MINI, ROOT, SHORT, run_tool, tool

COCO_CONFIG = str(ROOT / 'configs/retinanet_ghostnet_1.1x_coco.py')


@pytest.fixture
def data(shapes, tmp_path):
    """A copy of the small set that a test may spoil."""
    return Path(shutil.copytree(shapes, tmp_path / 'data'))


def edit(data, change, split='train'):
    file = data / f'annotations/instances_{split}2017.json'
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def own_data(root):
    """The text of a config for the data in `root`, as somebody would write it who does without --data-root."""
    return f"_base_ = '{MINI}'\nshapes = None\n" + ''.join(
        f"{split}_dataloader = dict(dataset=dict(data_root='{root}/'))\n" for split in ('train', 'val', 'test'))


def log_of(work_dir):
    return ''.join(file.read_text() for file in sorted(work_dir.glob('*/*.log')))


# ------------------------------------------------------------------------------------------------- what a run leaves

def test_run_leaves_checkpoints_tables_detections_and_pictures(trained):
    assert (trained / 'epoch_2.pth').exists()
    assert list(trained.glob('best_coco_bbox_mAP_epoch_*.pth'))
    assert list(trained.glob('*/vis_data/events.out.tfevents.*'))
    table = json.loads((trained / 'coco.json').read_text())
    assert set(table['classes']) == {'disc', 'square', 'triangle'}
    assert 'AP_small' in (trained / 'coco.txt').read_text()
    assert (trained / 'coco.md').read_text().count('|') > 40
    for name in ('detections.png', 'curves.png'):
        with Image.open(trained / name) as image:  # what is drawn in them: tests/unit/evaluation/test_plots.py
            assert min(image.size) > 300
    assert (trained / 'report.html').stat().st_size > 50_000
    point = json.loads((trained / 'threshold.json').read_text())
    kept = torch.load(trained / 'epoch_2.pth', weights_only=False)['message_hub']['runtime_info']['thresholds']
    assert point['threshold'] == kept['all'] > 0
    assert point['all']['F1'] > 0
    assert kept['classes'] == {name: row['own_threshold'] for name, row in point['classes'].items()
                               if row['own_threshold'] is not None}
    for box in json.loads((trained / 'detections.bbox.json').read_text()):
        assert set(box) == {'image_id', 'bbox', 'score', 'category_id'}


def test_learning_rate_is_scaled_to_the_batch_and_printed(trained):
    assert 'learning rate 0.00012' in log_of(trained)
    assert re.search(r'is for \d+ images per step, but a step has 4 here', log_of(trained))


def test_tool_gives_the_numbers_of_pycocotools(trained, shapes, tmp_path, monkeypatch):
    """Evaluated by pycocotools directly on the file that the tool wrote, in a folder without the config's own data."""
    monkeypatch.chdir(tmp_path)
    assert run_tool('test', MINI, trained / 'epoch_2.pth', '--work-dir', tmp_path, '--data-root', shapes,
                    '--show-dir', tmp_path / 'shown') == 0
    assert len(list((tmp_path / 'shown').glob('*.png'))) == 4
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(shapes / 'annotations/instances_val2017.json'))
        evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / 'detections.bbox.json')), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ours = json.loads((tmp_path / 'coco.json').read_text())['metrics']
    assert len(ours) == 12
    for value, expected in zip(ours.values(), evaluation.stats):
        assert (-1 if value is None else value) == pytest.approx(expected, abs=1e-6)
    assert ours == json.loads((trained / 'coco.json').read_text())['metrics']


def test_test_by_the_checkpoints_own_config(trained, tmp_path, monkeypatch):
    """With its data, into the folder beside the checkpoint."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained / 'epoch_2.pth', tmp_path)
    assert door.run(tool('test'), ['epoch_2.pth', '--cfg-options', 'test_dataloader.num_workers=0']) == 0
    assert (tmp_path / 'test/coco.json').read_text() == (trained / 'coco.json').read_text()
    assert len(list((tmp_path / 'test').glob('*.py'))) == 1  # the config that ran


def test_test_by_a_config_whose_data_are_missing_names_the_checkpoints_own(trained, tmp_path, capsys):
    (tmp_path / 'own.py').write_text(own_data(tmp_path / 'nowhere'))
    assert door.run(tool('test'), [str(tmp_path / 'own.py'), str(trained / 'epoch_2.pth')]) == 1
    assert 'Or leave out the config: the checkpoint carries its own, with the data of its' in capsys.readouterr().err


@pytest.mark.parametrize('words', [['test'], ['export', '--out', 'a.onnx'], ['predict', '.', '--out', 'found']])
def test_a_config_of_another_network_is_refused(words, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new('RGB', (8, 8)).save('a.png')
    config, file = 'retinanet_ghostnet_1.1x_finetune', str(trained / 'epoch_2.pth')
    arguments = [file, *words[1:], '--config', config] if words[0] == 'predict' else [config, file, *words[1:]]
    assert door.run(tool(words[0]), arguments) == 1
    error = capsys.readouterr().err
    assert f'model.neck.num_outs: 5 in {config}, 3 in {file}' in error
    assert 'Leave out the config' in error


def test_resume_goes_on_where_the_run_stopped(trained, shapes, tmp_path):
    shutil.copytree(trained, tmp_path / 'run')
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'run', '--data-root', shapes, '--resume', epochs=3) == 0
    assert torch.load(tmp_path / 'run/epoch_3.pth', weights_only=False)['meta']['iter'] == 6
    assert 'Epoch(train) [3][1/2]' in log_of(tmp_path / 'run').replace('  ', ' ')


def test_resume_without_a_checkpoint_starts_anew_and_says_so(shapes, tmp_path, capsys):
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, '--resume') == 0
    assert 'starts from the beginning' in capsys.readouterr().err


def test_load_from_keeps_what_fits_and_names_what_is_new(trained, data, tmp_path):
    def add_class(content):
        content['categories'].append(dict(id=4, name='star'))
    for split in ('train', 'val'):
        edit(data, add_class, split)
    arguments = [MINI, '--work-dir', tmp_path / 'run', '--data-root', data, '--load-from', trained / 'epoch_2.pth']
    assert run_tool('train', *arguments) == 0
    log = log_of(tmp_path / 'run')
    assert 'classes: disc from disc, square from square, triangle from triangle; new classes, untrained: star' in log
    assert re.search(r'(\d+) of the model\'s \1 tensors loaded', log)
    table = json.loads((tmp_path / 'run/coco.json').read_text())
    assert list(table['classes']) == ['disc', 'square', 'triangle', 'star']


def test_missing_val_split_is_said_loudly(data, tmp_path, capsys):
    (data / 'annotations/instances_val2017.json').unlink()
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'run', '--data-root', data) == 0
    assert 'TRAINING images' in capsys.readouterr().err
    ids = {box['image_id'] for box in json.loads((tmp_path / 'run/detections.bbox.json').read_text())}
    assert max(ids) > 4  # of the 8 training pictures, where val has 4


def test_dropped_boxes_are_counted_and_listed_and_the_run_goes_on(tmp_path, capsys):
    ShapesSet(train=80, val=4, size=64).write(tmp_path / 'data')
    edit(tmp_path / 'data', lambda content: content['annotations'][3].update(bbox=[5, 5, 0, 9]))
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'run', '--data-root', tmp_path / 'data') == 0
    assert 'boxes without area, left out: 1 (' in capsys.readouterr().err
    listed = json.loads((tmp_path / 'run/data/train_left_out.json').read_text())
    assert [box['bbox'] for box in listed['dropped_boxes']] == [[5, 5, 0, 9]]


def test_skip_bad_trains_without_the_bad_records(data, tmp_path, capsys):
    (data / 'train2017/000002.png').unlink()
    edit(data, lambda content: content['annotations'][0].update(category_id=77))
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'run', '--data-root', data, '--skip-bad') == 0
    assert 'records left out: 2 (' in capsys.readouterr().err
    assert len(json.loads((tmp_path / 'run/data/train.json').read_text())['images']) == 7


def test_named_files(data, tmp_path):
    (data / 'train2017').rename(data / 'pictures')
    (data / 'annotations/instances_train2017.json').rename(data / 'labels.json')
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'run', '--train-ann', data / 'labels.json', '--train-img',
                    data / 'pictures', '--val-ann', data / 'annotations/instances_val2017.json', '--val-img',
                    data / 'val2017') == 0


# ---------------------------------------------------------------------------------------------------- what stops a run

def no_folder(data):
    shutil.rmtree(data)
    return f'{data} does not exist'


def no_annotations(data):
    (data / 'annotations/instances_train2017.json').unlink()
    return 'has no train split, but val2017'


def no_images(data):
    shutil.rmtree(data / 'train2017')
    return 'train2017'


def image_gone(data):
    (data / 'train2017/000002.png').unlink()
    return '000002.png: the image file is missing'


def image_header(data):
    (data / 'train2017/000002.png').write_bytes(b'\x89PNG and then nothing')
    return '000002.png: the image does not open'


def val_image_gone(data):
    (data / 'val2017/000002.png').unlink()
    return '000002.png: the image file is missing'


def unknown_category(data):
    edit(data, lambda content: content['annotations'][0].update(category_id=77))
    return 'annotations[0]: (id 1) has category_id 77, which does not exist'


def no_boxes(data):
    edit(data, lambda content: content.update(annotations=[]))
    return 'instances_train2017.json has no boxes'


def many_empty_boxes(data):
    edit(data, lambda content: content['annotations'][0].update(bbox=[3, 3, 0, 0]))
    return 'have no area or lie entirely outside their image, such as id 1'


def body_cut_off(data):
    file = data / 'train2017/000002.png'
    file.write_bytes(file.read_bytes()[:-2000])
    return f'the image {file} cannot be read ('


def jpeg_body_cut_off(data):
    file = data / 'train2017/000002.jpg'
    Image.open(data / 'train2017/000002.png').resize((400, 400)).save(file, quality=95)
    file.write_bytes(file.read_bytes()[:-800])
    edit(data, lambda content: content['images'][1].update(file_name=file.name, width=400, height=400))
    return f'the image {file} cannot be read ('


FAULTS = [no_folder, no_annotations, no_images, image_gone, image_header, val_image_gone, unknown_category, no_boxes,
          many_empty_boxes, body_cut_off, jpeg_body_cut_off]


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: fault.__name__)
def test_bad_data_stops_the_run_with_file_and_record(data, tmp_path, capsys, fault):
    message = fault(data)
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'run', '--data-root', data) == 1
    assert message in capsys.readouterr().err
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_cut_off_image_in_a_worker_process_is_named_too(data, tmp_path, capsys):
    message = body_cut_off(data)
    options = [option for option in SHORT if 'worker' not in option]
    arguments = [MINI, '--work-dir', str(tmp_path / 'run'), '--data-root', str(data), '--cfg-options', *options]
    assert door.run(tool('train'), arguments) == 1
    error = capsys.readouterr().err
    assert f'error: {message}' in error
    assert 'Traceback' not in error.split('error: ')[-1]


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--amp'], '--amp needs a CUDA GPU'),
    (['--load-from', 'nowhere.pth'], 'there is no checkpoint'),
    (['--resume', 'nowhere.pth'], 'there is no checkpoint'),
    (['--launcher', 'slurm'], "--launcher slurm needs srun from Slurm"),
])
def test_flags_that_cannot_be_met(shapes, tmp_path, capsys, arguments, message):
    if arguments == ['--amp'] and torch.cuda.is_available():
        pytest.skip('there is a GPU here')
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, *arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('name', ['train', 'test', 'pretrain'])
def test_options_that_are_no_pairs(name, capsys):
    with pytest.raises(SystemExit, match='2'):
        tool(name)([MINI, *(['checkpoint.pth'] if name == 'test' else []), '--cfg-options', 'a=1', 'nonsense'])
    assert 'expected KEY=VALUE, got \'nonsense\'' in capsys.readouterr().err


def test_missing_config_and_checkpoint_are_named(shapes, tmp_path, capsys):
    assert run_tool('train', 'no_such_config.py') == 1
    assert 'no_such_config.py' in capsys.readouterr().err
    assert run_tool('test', MINI, tmp_path / 'nowhere.pth', '--work-dir', tmp_path, '--data-root', shapes) == 1
    assert 'nowhere.pth' in capsys.readouterr().err


def test_checkpoint_of_another_model_is_refused(trained, shapes, tmp_path, capsys):
    state = torch.load(trained / 'epoch_2.pth', weights_only=False)['state_dict']
    state = {key: value for key, value in state.items() if not key.startswith('neck.')}
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'other.pth')
    assert run_tool('test', MINI, tmp_path / 'other.pth', '--work-dir', tmp_path, '--data-root', shapes) == 1
    assert 'does not fit' in (error := capsys.readouterr().err)
    assert 'neck.' in error
    (tmp_path / 'text.pth').write_text('no checkpoint at all')
    assert run_tool('test', MINI, tmp_path / 'text.pth', '--work-dir', tmp_path, '--data-root', shapes) == 1
    assert 'text.pth is not a checkpoint' in capsys.readouterr().err


def test_test_reports_on_the_configs_own_test_split(trained, data, tmp_path):
    """Which may be another than the val split."""
    config = tmp_path / 'own.py'
    config.write_text(f"_base_ = '{MINI}'\nshapes = None\n"
                      f"test_dataloader = dict(dataset=dict(data_root='{data}/', "
                      "ann_file='annotations/instances_train2017.json', data_prefix=dict(img='train2017/')))\n")
    assert run_tool('test', config, trained / 'epoch_2.pth', '--work-dir', tmp_path / 'run') == 0
    assert max(box['image_id'] for box in json.loads((tmp_path / 'run/detections.bbox.json').read_text())) > 4


def test_broken_config_and_work_directory_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / 'broken.py').write_text('model = dict(')
    assert run_tool('train', tmp_path / 'broken.py') == 1
    assert 'broken.py' in capsys.readouterr().err
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'broken.py/run') == 1
    assert '--work-dir' in capsys.readouterr().err


def test_built_in_data_never_replaces_files_of_others(data, tmp_path, capsys):
    (data / 'shapes.json').unlink()
    config = tmp_path / 'own.py'
    config.write_text(f"_base_ = '{MINI}'\ndata_root = '{data}/'\n")
    assert run_tool('train', config, '--work-dir', tmp_path / 'run') == 1
    assert 'not generated' in capsys.readouterr().err
    assert (data / 'train2017/000001.png').exists()


def test_initial_weights_that_cannot_be_had_stop_the_run(shapes, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    entry = catalogue.CATALOGUE['ghostnet_1.0x']
    monkeypatch.setitem(catalogue.CATALOGUE, 'ghostnet_1.0x',
                        replace(entry, url='http://offline.invalid/ghostnet_1x.pth'))
    assert run_tool('train', COCO_CONFIG, '--work-dir', tmp_path, '--data-root', shapes) == 1
    error = capsys.readouterr().err
    assert 'offline.invalid/ghostnet_1x.pth cannot be reached: this machine is offline' in error
    assert f'save it in {tmp_path}/torch/hub/checkpoints as ghostnet_1x.pth' in error
    assert '--from-scratch' in error


def test_the_average_of_a_checkpoint_can_be_asked_for(shapes, tmp_path, capsys):
    torch.save(dict(state_dict=dict(weight=torch.ones(1))), tmp_path / 'file.pth')
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, '--load-from',
                    f'{tmp_path}/file.pth?ema') == 1
    assert f'{tmp_path}/file.pth has no moving average' in capsys.readouterr().err


def test_classes_of_the_config_that_the_file_lacks(data, tmp_path, capsys):
    """Without --data-root the config's own classes count, and mmdet would drop the boxes of others without a word."""
    config = tmp_path / 'own.py'
    config.write_text(own_data(data) + "train_dataloader['dataset']['metainfo'] = dict(classes=('disc', 'star'))\n")
    assert run_tool('train', config, '--work-dir', tmp_path / 'run') == 1
    assert 'missing: star' in capsys.readouterr().err


def test_no_coco_on_the_disk_is_told_by_a_subprocess_within_20_seconds(tmp_path):
    """As a newcomer sees it; the limit is the timeout."""
    result = subprocess.run([sys.executable, str(ROOT / 'tools/train.py'), COCO_CONFIG], capture_output=True, text=True,
                            cwd=tmp_path, timeout=20)
    assert result.returncode == 1
    assert 'instances_train2017.json is missing' in result.stderr
    assert str(tmp_path / 'data/coco/annotations') in result.stderr
    assert '--data-root' in result.stderr
    assert 'Traceback' not in result.stderr
