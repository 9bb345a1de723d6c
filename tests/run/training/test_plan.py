"""What is saved as the config is what runs."""
import pytest
import torch
from mmengine.config import Config

from ghostdet.training import launch
from tests.conftest import MINI, run_tool

NAME = 'retinanet_ghostnet_1.1x_mini.py'


@pytest.fixture
def plans(monkeypatch):
    """The plans of the runs in this process, each with its config as text before the run."""
    noted, decide = [], launch.plan_training
    monkeypatch.setattr(launch, 'plan_training',
                        lambda options: noted.append((plan := decide(options), plan.cfg.pretty_text)) or plan)
    return noted


def assert_same_weights(*files):
    first, second = (torch.load(file, weights_only=False)['state_dict'] for file in files)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_train_from_the_saved_config_alone_repeats_the_run(shapes, tmp_path, plans):
    options = ['train_dataloader.num_workers=1', 'randomness.seed=3', 'auto_scale_lr.base_batch_size=8']
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'first', '--data-root', shapes, '--val-fraction', 0.25,
                    '--from-scratch', '--keep-empty', options=options) == 0
    assert run_tool('train', tmp_path / 'first' / NAME, '--work-dir', tmp_path / 'second', short=(), epochs=1) == 0
    assert_same_weights(tmp_path / 'first/epoch_1.pth', tmp_path / 'second/epoch_1.pth')
    for plan, text in plans:
        assert plan.cfg.pretty_text == text
        saved = Config.fromfile(f'{plan.cfg.work_dir}/{NAME}')
        assert saved.to_dict() == plan.cfg.to_dict()


def test_train_from_the_config_of_a_resumed_run_repeats_the_whole_run(shapes, tmp_path):
    arguments = ['train', MINI, '--work-dir', tmp_path / 'first', '--data-root', shapes, '--from-scratch']
    assert run_tool(*arguments, epochs=2) == 0
    (tmp_path / 'first/epoch_2.pth').unlink()  # as if it had been killed before
    (tmp_path / 'first/last_checkpoint').write_text(str(tmp_path / 'first/epoch_1.pth'))
    assert run_tool(*arguments, '--resume', epochs=2) == 0
    (tmp_path / 'first/epoch_1.pth').unlink()
    assert run_tool('train', tmp_path / 'first' / NAME, '--work-dir', tmp_path / 'second', short=(), epochs=2) == 0
    assert_same_weights(tmp_path / 'first/epoch_2.pth', tmp_path / 'second/epoch_2.pth')
    for name in ('first', 'second'):
        log = ''.join(file.read_text() for file in (tmp_path / name).glob('*/*.log'))
        assert 'tables, detections and images:' in log


def test_options_are_in_the_saved_config(trained, shapes, tmp_path):
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, '--ignore-orientation', '--fast-eval',
                    '--load-from', trained / 'epoch_2.pth', options=['optim_wrapper.optimizer.lr=0.5']) == 0
    saved = Config.fromfile(tmp_path / NAME)
    assert saved.load_from == str(trained / 'epoch_2.pth')
    assert saved.val_evaluator.type == 'CocoTableMetric'
    assert saved.val_evaluator.fast_eval
    assert saved.optim_wrapper.optimizer.lr == pytest.approx(0.5 * 4 / 16)
    assert saved.auto_scale_lr.base_batch_size == 4
    assert saved.train_dataloader.dataset.pipeline[0] == dict(type='mmdet.ReadImage',
                                                              color_type='color_ignore_orientation')
    assert saved.train_dataloader.worker_init_fn == dict(type='start_worker')
    assert saved.train_cfg.type == 'ResumableTrainLoop'
    assert saved.default_hooks.checkpoint.type == 'WholeCheckpointHook'
    assert saved.default_hooks.progress.type == 'ProgressBarHook'
    assert [one.end for one in saved.param_scheduler if one.type == 'LinearLR'] == [2]
    assert saved.test_dataloader.dataset.pipeline[0].type == 'LoadImageFromFile'  # mmdet's clients look for it


def test_the_screen_has_what_a_person_reads(shapes, tmp_path, capfd):
    """And the log file all: the config, hooks, the environment, each iteration."""
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, epochs=2) == 0
    shown = ''.join(capfd.readouterr()).splitlines()
    assert len(shown) <= 40
    assert not [line for line in shown if 'mmengine' in line or 'OneDL' in line or 'Warning' in line]
    assert [line[:14] for line in shown if line.startswith('epoch ')] == ['epoch 1 of 2: ', 'epoch 2 of 2: ']
    log = next(tmp_path.glob('*/*.log')).read_text()
    for text in ('System environment:', 'optim_wrapper', 'Hooks will be executed', 'Epoch(train) [1][2/2]',
                 'loading annotations into memory', 'epoch 2 of 2: '):
        assert text in log, text
