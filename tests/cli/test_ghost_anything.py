"""Detectors of MMDetection with one word changed, and YOLO, through the command lines."""
import json

import pytest

from tests.conftest import ROOT, run_tool, tool

pytestmark = pytest.mark.slow

GHOST_R50 = """
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
conv_cfg = dict(type='GhostConv', ratio=2, dw_size=3)
model = dict(backbone=dict(conv_cfg=conv_cfg, init_cfg=None), neck=dict(conv_cfg=conv_cfg), bbox_head=dict(conv_cfg=conv_cfg))
"""
SMALL = ['train_dataloader.dataset.pipeline.2.scale=(64,64)', 'val_dataloader.dataset.pipeline.1.scale=(64,64)']


def test_mmdets_own_retinanet_trains_and_tells_what_it_saves(shapes, tmp_path, capsys):
    config = tmp_path / 'ghost_r50.py'
    config.write_text(GHOST_R50)
    assert run_tool('train', config, '--data-root', shapes, '--work-dir', tmp_path / 'run', options=SMALL) == 0
    assert set(json.loads((tmp_path / 'run/coco.json').read_text())['classes']) == {'disc', 'square', 'triangle'}
    assert (tmp_path / 'run/epoch_1.pth').exists()
    capsys.readouterr()
    tool('complexity')([str(config)])
    assert 'GhostConv in ghost_r50 saves 47.3% of the 37.969 M parameters and ' in capsys.readouterr().out


@pytest.mark.parametrize(('detector', 'options'), [
    ('yolov3', ['train_dataloader.dataset.times=1', 'train_dataloader.dataset.dataset.pipeline.4.scale=[(64,64),(96,96)]']),
    ('yolox', ['train_dataloader.dataset.pipeline.0.img_scale=(64,64)', 'train_dataloader.dataset.pipeline.4.scale=(64,64)',
               'model.data_preprocessor.batch_augments.0.random_size_range=(64,96)', 'default_hooks.checkpoint.interval=1'])])
def test_yolos_on_coco_train_resume_and_test(detector, options, shapes, tmp_path):
    config = ROOT / f'configs/{detector}_ghostnet_1.1x_coco.py'
    common = [config, '--data-root', shapes]
    run = tmp_path / 'run'
    options = [*options, 'val_dataloader.dataset.pipeline.1.scale=(64,64)']
    assert run_tool('train', *common, '--from-scratch', '--work-dir', run, options=options) == 0
    assert run_tool('train', *common, '--resume', '--work-dir', run, epochs=2, options=options) == 0
    assert (run / 'epoch_2.pth').exists()
    assert run_tool('test', *common, run / 'epoch_2.pth', options=['test_dataloader.dataset.pipeline.1.scale=(64,64)']) == 0
