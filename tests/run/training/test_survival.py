"""Runs that are killed, broken off or run out of room, and what is left of them."""
import json
import multiprocessing
import os
import random
import re
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ghostdet.data.shapes import ShapesSet
from ghostdet.files import UNFINISHED
from ghostdet.training.checkpoints import POINTER, find_checkpoint
from ghostdet.weights.checkpoint_file import read_torch
from tests.conftest import MINI, nightly, run_tool
from tests.processes import start, wait_for

WORKERS = ('train_dataloader.num_workers=2', 'default_hooks.checkpoint.max_keep_ckpts=1', 'train_cfg.val_interval=2')

EPOCHS = 5

NANODET = MINI.replace('retinanet_ghostnet_1.1x', 'nanodet-plus_ghostnet_1.0x')


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp('pictures')
    ShapesSet(train=20, val=4, size=64).write(root)  # five steps an epoch
    return root


@pytest.fixture(scope='module')
def unbroken(pictures, tmp_path_factory):
    """A run with flips and worker processes that nobody disturbs."""
    work_dir = tmp_path_factory.mktemp('unbroken')
    assert run_tool('train', MINI, '--work-dir', work_dir, '--data-root', pictures, epochs=EPOCHS, options=WORKERS) == 0
    return work_dir


def steps_done(work_dir):
    """Iterations in the logs of a run, repeated ones counted again."""
    return sum('"loss"' in line for file in work_dir.glob('*/vis_data/scalars.json')
               for line in file.read_text().splitlines())


def last_checkpoint(work_dir):
    pointer = work_dir / POINTER
    return Path(pointer.read_text()).name if pointer.exists() else None


def writing(work_dir):
    return any(work_dir.glob(f'epoch_*{UNFINISHED}'))


def begin(work_dir, pictures, *arguments, options=WORKERS, epochs=EPOCHS):
    return start(work_dir / 'output.txt', 'train', MINI, '--work-dir', work_dir, '--data-root', pictures, '--resume',
                 *arguments, epochs=epochs, options=options)


def assert_same_run(work_dir, unbroken):
    first, second = (read_torch(folder / f'epoch_{EPOCHS}.pth') for folder in (unbroken, work_dir))
    for key in ('state_dict', 'optimizer', 'param_schedulers'):
        assert len(first[key])
        assert_identical(first[key], second[key], key)
    assert json.loads((work_dir / 'coco.json').read_text()) == json.loads((unbroken / 'coco.json').read_text())


def assert_identical(first, second, where):
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, (dict, list, tuple)):
        assert len(first) == len(second), where
        for key in first if isinstance(first, dict) else range(len(first)):
            assert_identical(first[key], second[key], f'{where}.{key}')
    else:
        assert first == second, where


def test_killed_twice_and_resumed_it_is_the_unbroken_run(unbroken, pictures, tmp_path):
    moments = random.Random(1)
    for _ in range(2):
        process = begin(tmp_path, pictures)
        # with five steps an epoch, this is in an epoch, a write or an evaluation
        goal = steps_done(tmp_path) + moments.randint(6, 12)
        wait_for(lambda goal=goal: steps_done(tmp_path) >= goal, process)
        process.kill()
        process.join()
    process = begin(tmp_path, pictures)
    process.join()
    assert process.exitcode == 0, (tmp_path / 'output.txt').read_text()[-3000:]
    assert (tmp_path / 'output.txt').read_text().count('continuing from') == 2
    assert_same_run(tmp_path, unbroken)


@pytest.mark.parametrize('kills', [3, *nightly(20)])
def test_killed_while_it_writes_its_only_checkpoint(kills, pictures, tmp_path):
    """The kills come at random moments of a write, with `max_keep_ckpts=1`: a whole checkpoint is there each time."""
    moments, epoch, hit = random.Random(2), 0, 0
    once = ('default_hooks.checkpoint.max_keep_ckpts=1', 'train_cfg.val_interval=1000',
            'train_dataloader.batch_size=20')
    for _ in range(kills):
        process = begin(tmp_path, pictures, epochs=1000, options=once)
        # the start removes the unfinished checkpoint of the kill before
        wait_for(lambda: not writing(tmp_path), process)
        wait_for(lambda: writing(tmp_path), process)
        process.join(moments.uniform(0, 0.1))
        process.kill()
        process.join()
        hit += writing(tmp_path)
        file, damaged = find_checkpoint(tmp_path)
        result = read_torch(file)['meta']['epoch'] if file else 0
        announced = re.findall(r'Saving checkpoint at (\d+) epochs', ''.join(
            log.read_text() for log in sorted(tmp_path.glob('*/*.log'))))
        assert not damaged
        # at most what was being written is lost
        assert max(epoch, int(announced[-1]) - 1) <= result <= int(announced[-1])
        assert len(list(tmp_path.glob('epoch_*.pth'))) <= 2
        epoch = result
    process = begin(tmp_path, pictures, epochs=epoch + 1, options=once)
    process.join()
    assert process.exitcode == 0
    assert last_checkpoint(tmp_path) == f'epoch_{epoch + 1}.pth'
    assert hit >= kills // 6, 'the kills came too late to hit a write'


def test_killed_between_checkpoint_and_evaluation_it_still_evaluates(unbroken, pictures, tmp_path):
    process = begin(tmp_path, pictures)
    wait_for(lambda: last_checkpoint(tmp_path) == f'epoch_{EPOCHS}.pth', process)
    process.kill()
    process.join()
    assert not (tmp_path / 'coco.json').exists()
    before = steps_done(tmp_path)
    process = begin(tmp_path, pictures)
    process.join()
    assert process.exitcode == 0
    assert steps_done(tmp_path) == before
    assert_same_run(tmp_path, unbroken)


@HOOKS.register_module()
class SignalAt(Hook):
    """Sends `kind` to this process and its workers after some iterations, or in the middle of an evaluation."""

    priority = 'VERY_LOW'

    def __init__(self, kind, at=(), in_evaluation=None, **_):
        self.kind, self.at, self.in_evaluation = kind, at, in_evaluation

    def after_train_iter(self, runner, *_, **__):
        if runner.iter + 1 in self.at:
            self.send()

    def after_val_iter(self, runner, *_, **__):
        if runner.epoch == self.in_evaluation:
            self.send()

    def send(self):
        for child in multiprocessing.active_children():
            os.kill(child.pid, self.kind)
        os.kill(os.getpid(), self.kind)


def broken_off(work_dir, pictures, capfd, *options):
    code = run_tool('train', MINI, '--work-dir', work_dir, '--data-root', pictures, '--resume', epochs=EPOCHS,
                    options=[*WORKERS, *options])
    output = capfd.readouterr()
    assert 'Traceback' not in output.err + output.out
    return code, output.err


@pytest.mark.parametrize('kind', [signal.SIGTERM, *nightly(signal.SIGINT)])
def test_stopped_twice_it_saves_the_step_it_is_at_and_resumes_there(kind, unbroken, pictures, tmp_path, capfd):
    signals = ['custom_hooks.0.type=SignalAt', f'custom_hooks.0.kind={int(kind)}', 'custom_hooks.0.at="(7,8)"']
    code, error = broken_off(tmp_path, pictures, capfd, *signals)
    assert code == 130
    assert 'stopped after 2 of 5 batches of epoch 2, as requested' in error
    assert f'{tmp_path}/interrupted.pth. Continue with --resume' in error
    code, error = broken_off(tmp_path, pictures, capfd, *signals)
    assert code == 130
    assert 'stopped after 3 of 5 batches of epoch 2' in error
    assert not [words for words in ('in place of', 'no effect', 'differ from') if words in error]  # the same command
    code, error = broken_off(tmp_path, pictures, capfd)
    assert code == 0
    assert f'continuing from {tmp_path}/interrupted.pth' in error
    assert steps_done(tmp_path) == EPOCHS * 5  # none was repeated
    assert not (tmp_path / 'interrupted.pth').exists()
    assert_same_run(tmp_path, unbroken)


@pytest.mark.parametrize('interval', [10, *nightly(1)])
def test_stopped_in_an_evaluation(interval, unbroken, pictures, tmp_path, capfd):
    every = f'default_hooks.checkpoint.interval={interval}'
    code, error = broken_off(tmp_path, pictures, capfd, every, 'custom_hooks.0.type=SignalAt',
                             f'custom_hooks.0.kind={int(signal.SIGINT)}', 'custom_hooks.0.in_evaluation=4')
    assert code == 130
    assert f'stopped after epoch 4, as requested; the run is saved in {tmp_path}' in error
    assert broken_off(tmp_path, pictures, capfd, every)[0] == 0
    assert steps_done(tmp_path) == EPOCHS * 5
    assert_same_run(tmp_path, unbroken)


@pytest.mark.parametrize(('base', 'more'), [
    (MINI, ''), *nightly((NANODET, ", dict(type='SetEpochInfoHook')]\nmodel = dict(detach_epoch=2"))],
    ids=['retinanet', 'nanodet-plus'])
def test_averaged_weights_are_not_taken_for_the_trained_ones(base, more, pictures, tmp_path):
    """In an evaluation mmengine's EMAHook puts the average in the model's place."""
    hooks = f"dict(type='SignalAt', kind=2, in_evaluation=STOP), dict(type='EMAHook'){more}"
    text = f"_base_ = '{base}'\ncustom_hooks = [{hooks}{')' if more else ']'}\n"
    config, whole, stopped = tmp_path / 'own.py', tmp_path / 'whole', tmp_path / 'stopped'
    for work_dir, stop in ((whole, 0), (stopped, 4), (stopped, 0)):
        config.write_text(text.replace('STOP', str(stop)))
        code = run_tool('train', config, '--work-dir', work_dir, '--data-root', pictures, '--resume', epochs=EPOCHS,
                        options=[*WORKERS, 'default_hooks.checkpoint.interval=10'])
        assert code == (130 if stop else 0)
    for key in ('state_dict', 'ema_state_dict'):
        assert_identical(*(read_torch(folder / f'epoch_{EPOCHS}.pth')[key] for folder in (whole, stopped)), key)


@pytest.mark.nightly
def test_checkpoints_counted_in_iterations(unbroken, pictures, tmp_path, capfd):
    every = [f'default_hooks.checkpoint.{option}' for option in ('by_epoch=False', 'interval=4', 'save_best=None')]
    process = begin(tmp_path, pictures, options=[*WORKERS, *every])
    wait_for(lambda: last_checkpoint(tmp_path) == 'iter_12.pth', process)
    process.kill()
    process.join()
    code, error = broken_off(tmp_path, pictures, capfd, *every)
    assert code == 0
    assert 'continuing from' in error
    first, second = read_torch(unbroken / f'epoch_{EPOCHS}.pth'), read_torch(tmp_path / f'iter_{EPOCHS * 5}.pth')
    assert_identical(first['state_dict'], second['state_dict'], 'state_dict')


def test_gradients_that_wait_for_their_step_are_kept(pictures, tmp_path, capfd):
    accumulate = ['optim_wrapper.accumulative_counts=3', 'custom_hooks.0.type=SignalAt', 'custom_hooks.0.kind=2']
    broken_off(tmp_path / 'whole', pictures, capfd, *accumulate)
    assert broken_off(tmp_path / 'stopped', pictures, capfd, *accumulate, 'custom_hooks.0.at="(8,)"')[0] == 130
    assert read_torch(tmp_path / 'stopped/interrupted.pth')['gradients']
    assert broken_off(tmp_path / 'stopped', pictures, capfd, *accumulate)[0] == 0
    whole, stopped = (read_torch(tmp_path / name / f'epoch_{EPOCHS}.pth')['state_dict']
                      for name in ('whole', 'stopped'))
    assert_identical(whole, stopped, 'state_dict')
