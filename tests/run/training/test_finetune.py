"""What a run on own data can be told: what stays frozen, and how long it takes."""
import logging

import numpy as np
import pytest
import torch

from ghostdet import Detector
from ghostdet.deploy.exporter import manifest_of
from ghostdet.errors import UserError
from ghostdet.options import TrainOptions
from ghostdet.training.checkpoints import checkpoint_of
from ghostdet.training.plan import plan_training
from ghostdet.training.trained_detector import read_detector
from ghostdet.weights import catalogue
from tests.conftest import MINI, run_tool
from tests.run.weights.test_nanodet import published


def test_a_frozen_backbone_keeps_weights_and_statistics(trained, shapes, tmp_path):
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, '--freeze', 'backbone',
                    '--load-from', trained / 'epoch_2.pth', options=['train_cfg.val_interval=10']) == 0
    before, after = (torch.load(file, weights_only=False)['state_dict']
                     for file in (trained / 'epoch_2.pth', tmp_path / 'epoch_1.pth'))
    for key, value in before.items():
        if key.startswith('backbone.'):
            assert torch.equal(value, after[key]), key
    assert not torch.equal(before['neck.fpn_convs.0.conv.weight'], after['neck.fpn_convs.0.conv.weight'])
    assert 0.5 * torch.tensor(1e-39) > 0, 'denormal numbers are flushed in training alone'


def test_minutes_are_measured_on_the_first_steps(trained, shapes, tmp_path, capfd):
    """The trial run leaves nothing behind, and the run itself starts from its beginning."""
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, '--minutes', '0.01',
                    '--load-from', trained / 'epoch_2.pth') == 0
    shown = capfd.readouterr().err
    assert 's a step, ' in shown
    assert '--minutes 0.01 is too short for an epoch' in shown
    assert 'epoch 1 of 1: ' in shown
    assert len(list(tmp_path.glob('*/vis_data'))) == 1


def test_data_alone_start_from_the_detector_trained_on_coco(shapes, tmp_path, monkeypatch, caplog):
    """Its file is in a folder of published files; classes, length and folder come from the data."""
    caplog.set_level(logging.INFO, 'ghostdet')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mirror').mkdir()
    torch.save(published(), tmp_path / 'mirror' / catalogue.DETECTORS['nanodet-plus-m_416'].file)
    monkeypatch.setenv('GHOSTDET_WEIGHTS', str(tmp_path / 'mirror'))
    plan = plan_training(TrainOptions(data_root=shapes))
    assert plan.cfg.load_from == 'ghostdet://nanodet-plus-m_416'
    assert plan.cfg.model.bbox_head.num_classes == 3
    assert plan.cfg.model.backbone.init_cfg is None
    assert plan.cfg.train_cfg.max_epochs == 240  # of 2 steps: 8 images
    assert plan.cfg.work_dir == f'work_dirs/{shapes.name}'


def test_without_the_file_a_message_says_what_to_bring(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv('GHOSTDET_WEIGHTS', str(tmp_path))
    with pytest.raises(UserError) as caught:
        plan_training(TrainOptions(data_root=shapes, work_dir=tmp_path))
    assert 'nanodet-plus-m_416_checkpoint.ckpt' in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).endswith('or train without it: --from-scratch')


def test_without_data_and_config_there_is_nothing_to_train():
    with pytest.raises(UserError, match='name your data with --data-root DIR, or a config'):
        plan_training(TrainOptions())


def test_from_scratch_nothing_is_frozen(shapes, tmp_path):
    cfg = plan_training(TrainOptions(data_root=shapes, work_dir=tmp_path, from_scratch=True)).cfg
    assert (cfg.load_from, cfg.model.backbone.frozen_stages, cfg.model.backbone.init_cfg) == (None, -1, None)


def test_a_checkpoint_keeps_its_scale_and_its_limit(shapes, tmp_path):
    """For predictions and files; both can be changed there."""
    assert run_tool('train', '--data-root', shapes, '--work-dir', tmp_path, '--from-scratch', '--scale', 224,
                    '--max-objects', 150) == 0
    trained = read_detector(str(tmp_path / 'epoch_1.pth'))
    assert trained.cfg.val_evaluator.max_objects == trained.model.test_cfg.max_per_img == 150
    manifest = manifest_of(trained, None, 'a config', fixed=True)
    assert (manifest.canvas, manifest.scale, manifest.max_objects) == ((224, 224), (224, 224), 150)
    detector = Detector(tmp_path / 'epoch_1.pth')
    assert detector.max_objects == 150
    assert detector.prepare(np.zeros((300, 600, 3), np.uint8))['inputs'][0].shape == (3, 112, 224)
    other = manifest_of(read_detector(str(tmp_path / 'epoch_1.pth'), scale=128, max_objects=80), None, '', fixed=True)
    assert (other.canvas, other.max_objects) == ((128, 128), 80)


@pytest.mark.parametrize(('options', 'message'), [
    (dict(from_scratch=True, freeze='backbone'), '--freeze and --from-scratch exclude each other'),
    *((dict(minutes=value), 'expected a number above 0') for value in (0., -1., float('nan'), float('inf')))])
def test_options_that_make_no_sense_are_refused_at_once(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        plan_training(TrainOptions(data_root=tmp_path, **options))


def test_a_folder_of_a_run_is_its_last_checkpoint(trained, tmp_path):
    assert checkpoint_of(str(trained)) == str(trained / 'epoch_2.pth')
    with pytest.raises(UserError, match='is no folder of a run: it has no checkpoint'):
        checkpoint_of(str(tmp_path))
