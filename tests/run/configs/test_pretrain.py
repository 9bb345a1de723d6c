"""The ImageNet classifier: the authors' function, and a training that a detector can start from."""
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from ghostdet import GhostNet
from ghostdet.cli import door
from ghostdet.data.shapes import FolderSet
from ghostdet.weights.initializer import load_into
from tests import closed_form
from tests.conftest import ROOT, tool

GOLDEN = closed_form.golden('ghostnet')

IMAGENET = ROOT / 'configs/pretrain/ghostnet_1.1x_imagenet.py'

SHAPES = ROOT / 'configs/pretrain/ghostnet_1.1x_shapes.py'

OFFICIAL = {'layers.0.fc': 'conv_head', 'layers.1.fc': 'classifier'}


@pytest.fixture(autouse=True)
def scope_of_others():
    """Mmengine's current scope is one for the process: leave it as the other tests want it."""
    yield
    init_default_scope('mmdet')


def classifier(width):
    cfg = Config.fromfile(IMAGENET)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.width = width
    cfg.model.head.in_channels = GhostNet(width, out_indices=(4,)).out_channels[0]
    return MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})


@pytest.mark.parametrize('name', GOLDEN)
def test_logits_are_those_of_the_authors_network(name):
    reference = GOLDEN[name]
    model = classifier(reference['width'])
    closed_form.filled(model.backbone)
    model.double().eval()
    for key, tensor in model.head.state_dict().items():
        layer, part = key.rsplit('.', 1)
        shape = (*tensor.shape, 1, 1) if OFFICIAL[layer] == 'conv_head' and part == 'weight' else tuple(tensor.shape)
        tensor.copy_(closed_form.value(f'{OFFICIAL[layer]}.{part}', shape).reshape(tensor.shape))
    logits = model(closed_form.image(*reference['input']), mode='tensor')
    expected = reference['taps']['logits']
    assert list(logits.shape) == expected['shape']
    assert torch.allclose(closed_form.nine(logits), torch.tensor(expected['values'], dtype=torch.float64), rtol=0,
                          atol=1e-9)
    assert sum(value.numel() for value in model.parameters()) == reference['params']


def test_the_default_config_is_the_papers_1_1x():
    model = classifier(1.1)
    assert model.head.layers[0].dropout.p == 0.2
    assert sum(value.numel() for value in model.parameters()) == GOLDEN['ghostnet_1.1x_64x96']['params']


def test_the_cosine_ends_with_the_last_epoch_whatever_their_number(tmp_path):
    FolderSet(train=6, val=3, size=32).write(tmp_path / 'data')
    cfg = Config.fromfile(IMAGENET)
    assert 'end' not in cfg.param_scheduler[1]
    assert run(IMAGENET, '--data-root', tmp_path / 'data', '--work-dir', tmp_path / 'run', '--cfg-options',
               'train_cfg.max_epochs=7', 'train_dataloader.batch_size=6', 'train_dataloader.num_workers=0',
               'val_dataloader.num_workers=0', 'default_hooks.logger.interval=1', 'auto_scale_lr.enable=False',
               'model.backbone.width=0.2', 'model.head.in_channels=192') == 0
    lines = next((tmp_path / 'run').glob('*/vis_data/scalars.json')).read_text().splitlines()
    rates = [entry['lr'] for entry in map(json.loads, lines) if 'lr' in entry]
    assert rates[5:] == pytest.approx([0.4, 0.2])  # the cosine's top, and half of its way down to epoch 7


def run(*arguments):
    return door.run(tool('pretrain'), [*map(str, arguments)])


def test_a_folder_that_is_no_data_set(tmp_path, capsys):
    assert run(SHAPES, '--data-root', tmp_path, '--work-dir', tmp_path / 'run') == 1
    assert 'train has no class folders (expected one folder of images for each class)' in capsys.readouterr().err
    for folder in ('train/a', 'train/b', 'val/a'):
        (tmp_path / folder).mkdir(parents=True)
    assert run(SHAPES, '--data-root', tmp_path, '--work-dir', tmp_path / 'run') == 1
    assert 'train and val have different classes; only one of them has b' in capsys.readouterr().err


@pytest.mark.nightly
def test_a_short_pretraining_gives_a_checkpoint_that_a_detector_takes_whole(tmp_path):
    FolderSet(train=24, val=6, size=32).write(tmp_path / 'data')
    short = ['--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.batch_size=8',
             'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0', 'param_scheduler.0.end=1']
    assert run(SHAPES, '--data-root', tmp_path / 'data', '--work-dir', tmp_path / 'run', *short) == 0
    backbone = GhostNet(1.1)
    coverage = load_into(backbone, str(tmp_path / 'run/epoch_1.pth'))
    assert coverage.received == coverage.wanted
    assert run(SHAPES, '--data-root', tmp_path / 'data', '--work-dir', tmp_path / 'run', '--resume', *short[:1],
               'train_cfg.max_epochs=2', *short[2:]) == 0
    assert (tmp_path / 'run/epoch_2.pth').exists()
