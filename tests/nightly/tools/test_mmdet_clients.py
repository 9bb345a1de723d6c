"""MMDetection's own programs with our configs and checkpoints."""
import json
import sys
import uuid
from pathlib import Path

import mmdet
import pytest

import ghostdet
from ghostdet.cli import door
from tests.conftest import MINI, SHORT, run_tool, tool

TOOLS = Path(mmdet.__file__).parent / '.mim/tools'

SHAPES = ('train_dataloader.dataset.data_root', 'val_dataloader.dataset.data_root', 'test_dataloader.dataset.data_root')


@pytest.fixture
def stock(monkeypatch, shapes):
    """Run a tool of mmdet by `ghostdet run` on the small data, with further settings; returns the exit code."""
    def run(name, *arguments, options=()):
        monkeypatch.setattr(sys, 'argv', list(sys.argv))
        monkeypatch.setattr(sys, 'path', list(sys.path))
        data = [f'{key}={shapes}/' for key in SHAPES]
        truth = [f'{key}.ann_file={shapes}/annotations/instances_val2017.json'
                 for key in ('val_evaluator', 'test_evaluator')]
        own_folder = f'visualizer.name={uuid.uuid4().hex}'  # a second run would write to the first's folder
        return door.run(tool('run'), [str(TOOLS / name), *map(str, arguments), '--cfg-options', *SHORT, *data, *truth,
                                      *options, own_folder])
    return run


def test_their_test_gives_our_ap(stock, trained, shapes, tmp_path, capsys):
    checkpoint = trained / 'epoch_2.pth'
    assert run_tool('test', MINI, checkpoint, '--data-root', shapes, '--work-dir', tmp_path / 'ours') == 0
    ours = json.loads((tmp_path / 'ours/coco.json').read_text())['metrics']
    assert stock('test.py', MINI, checkpoint, '--work-dir', tmp_path / 'theirs') == 0
    theirs = json.loads(next((tmp_path / 'theirs').glob('*/*.json')).read_text())
    for name, key in dict(AP='bbox_mAP', AP50='bbox_mAP_50', AP75='bbox_mAP_75').items():
        assert theirs[f'coco/{key}'] == pytest.approx(ours[name], abs=5e-4)  # they round to three digits


def test_their_training_runs_and_we_go_on_with_it(stock, shapes, tmp_path):
    assert stock('train.py', MINI, '--work-dir', tmp_path, options=['train_cfg.max_epochs=1']) == 0
    saved = (tmp_path / 'retinanet_ghostnet_1.1x_mini.py').read_text()
    assert "type='LoadImageFromFile'" in saved
    assert ghostdet.Detector(tmp_path / 'epoch_1.pth', config=MINI).classes == ('disc', 'square', 'triangle')
    assert run_tool('test', MINI, tmp_path / 'epoch_1.pth', '--data-root', shapes, '--work-dir', tmp_path / 'ours') == 0


def test_their_flops_and_browser(stock, shapes, tmp_path, capsys):
    assert stock('analysis_tools/get_flops.py', MINI, '--num-images', 2) == 0
    assert 'Flops: ' in capsys.readouterr().out
    assert stock('analysis_tools/browse_dataset.py', MINI, '--output-dir', tmp_path / 'drawn', '--not-show') == 0
    assert len(list((tmp_path / 'drawn').glob('*.png'))) == 8
