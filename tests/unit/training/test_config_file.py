"""Configs in Python's own import style."""
import pytest

from ghostdet.errors import UserError
from ghostdet.training.config_file import read_program

PURE = '''
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmengine.runner import EpochBasedTrainLoop
from torch.optim import SGD
from ghostdet import GhostNet
pipeline = [dict(type=LoadImageFromFile)]
train_dataloader = dict(dataset=dict(type=CocoDataset, pipeline=pipeline))
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1))
model = dict(backbone=dict(type=GhostNet), other=dict(type=dict))
'''


def test_classes_become_their_names(tmp_path):
    """So that a run finds what it replaces: loops, hooks, transforms."""
    (tmp_path / 'pure.py').write_text(PURE)
    cfg = read_program(str(tmp_path / 'pure.py'), {'model.backbone.width': 0.5})
    assert cfg.train_dataloader.dataset == dict(type='CocoDataset', pipeline=[dict(type='LoadImageFromFile')])
    assert (cfg.train_cfg.type, cfg.optim_wrapper.optimizer.type) == ('EpochBasedTrainLoop', 'SGD')
    assert cfg.model.backbone == dict(type='GhostNet', width=0.5)
    assert cfg.model.other.type is dict  # not one that a registry has


def test_a_package_that_is_missing_is_named(tmp_path):
    (tmp_path / 'a.py').write_text("custom_imports = dict(imports=['no_such_package'])")
    with pytest.raises(UserError, match="No module named 'no_such_package'"):
        read_program(str(tmp_path / 'a.py'), {})


@pytest.mark.parametrize(('key', 'message'), [
    ('optim_wraper.optimizer.lr', 'the config has no optim_wraper; similar names: optim_wrapper'),
    ('zzz', 'the config has no zzz; it has model')])
def test_a_setting_that_nothing_reads_is_refused(key, message, tmp_path):
    (tmp_path / 'a.py').write_text('model = dict()')
    with pytest.raises(UserError, match=f'--cfg-options {key}: {message}'):
        read_program(str(tmp_path / 'a.py'), {key: 1})


def test_settings_of_the_runner_need_not_be_in_the_config(tmp_path):
    (tmp_path / 'a.py').write_text('model = dict()')
    cfg = read_program(str(tmp_path / 'a.py'), {'load_from': 'b.pth', 'randomness.seed': 3, 'custom_hooks': [],
                                                'env_cfg.cudnn_benchmark': True, 'expected.bbox_mAP': 0.2})
    assert (cfg.load_from, cfg.randomness.seed, cfg.expected.bbox_mAP) == ('b.pth', 3, 0.2)
