"""The length of a run follows the number of images, an option or a time."""
import logging

import pytest

from ghostdet.options import TrainOptions
from ghostdet.training import schedule
from ghostdet.training.config_file import read_config
from ghostdet.training.schedule import fit_schedule

FINETUNE = 'nanodet-plus_shufflenetv2_1.0x_finetune'  # 4 images a step


def fitted(images, config=FINETUNE, cfg_options=None, resumed=None, **options):
    cfg = read_config(config, cfg_options or {})
    fit_schedule(cfg, images, TrainOptions(config=config, cfg_options=cfg_options or {}, **options), resumed)
    return cfg


@pytest.mark.parametrize(('images', 'epochs'), [(10, 160), (30, 60), (160, 12), (292, 12), (1000, 12), (4000, 6),
                                                (10_000, 4)])
def test_the_schedule_follows_the_number_of_images(images, epochs, caplog):
    caplog.set_level(logging.INFO, 'ghostdet')
    cfg = fitted(images)
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.train_cfg.val_interval == epochs // 4
    assert 'schedule' not in cfg
    steps = -(-images // 4)
    assert f'for {images:,} images: {epochs} epochs of {steps} steps, {epochs * steps:,} in all' in caplog.text


@pytest.mark.parametrize(('options', 'epochs', 'interval'), [
    ({'train_cfg.max_epochs': 12}, 12, 3), (dict(train_cfg=dict(max_epochs=12)), 12, 3),
    ({'train_cfg.max_epochs': 20}, 20, 5), ({'train_cfg.max_epochs': 20, 'train_cfg.val_interval': 1}, 20, 1),
    ({'train_cfg.val_interval': 1}, 160, 1)])
def test_what_an_option_names_is_kept(options, epochs, interval):
    loop = fitted(10, cfg_options=options).train_cfg
    assert (loop.max_epochs, loop.val_interval) == (epochs, interval)


def test_minutes_of_a_resumed_run_are_those_that_it_began_with():
    earlier = fitted(30)
    loop = fitted(30, minutes=7, resumed=earlier).train_cfg
    assert (loop.max_epochs, loop.val_interval) == (60, 15)


def test_a_resumed_run_takes_a_named_number_of_epochs_and_not_minutes(caplog):
    caplog.set_level(logging.INFO, 'ghostdet')
    loop = fitted(30, minutes=7, resumed=fitted(30), cfg_options={'train_cfg.max_epochs': 80}).train_cfg
    assert (loop.max_epochs, loop.val_interval) == (80, 20)
    assert '--minutes has no effect' in caplog.text


def test_other_configs_keep_their_schedule():
    assert fitted(10, 'retinanet_ghostnet_1.1x_mini').train_cfg.max_epochs == 12


@pytest.mark.parametrize(('minutes', 'epochs', 'interval'), [(10, 15, 3), (1, 1, 1)])
def test_minutes(minutes, epochs, interval, monkeypatch, caplog):
    """292 images are 73 steps; four evaluations and the epochs fit into the time."""
    caplog.set_level(logging.INFO, 'ghostdet')
    monkeypatch.setattr(schedule, '_measure', lambda cfg: (0.5, 10.))
    cfg = fitted(292, minutes=minutes)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (epochs, interval)
    assert f'{epochs} epochs of 73 steps, {epochs * 73:,} in all' in caplog.text
    assert ('too short for an epoch, which takes 0.6 minutes here, beside' in caplog.text) == (minutes == 1)
