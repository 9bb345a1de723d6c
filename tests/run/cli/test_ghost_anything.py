"""A detector of MMDetection with one word changed, through the command line."""
import json

from tests.conftest import run_tool, tool

GHOST_R50 = """
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
conv_cfg = dict(type='GhostConv', ratio=2, dw_size=3)
model = dict(
    backbone=dict(conv_cfg=conv_cfg, init_cfg=None),
    neck=dict(conv_cfg=conv_cfg),
    bbox_head=dict(conv_cfg=conv_cfg))
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
