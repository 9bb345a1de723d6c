"""Runs that are killed, broken off or run out of room, and what is left of them."""
import json
import os
import random
import signal
from pathlib import Path

import pytest
import torch

from ghostdet.data.shapes import ShapesSet
from ghostdet.engine.checkpoints import POINTER, UNFINISHED, find_checkpoint
from ghostdet.weights.checkpoint_file import read
from tests.conftest import MINI, run_tool
from tests.processes import start, wait_for

WORKERS = ('train_dataloader.num_workers=2', 'default_hooks.checkpoint.max_keep_ckpts=1', 'train_cfg.val_interval=2')
EPOCHS = 5


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
    return sum('"loss"' in line for file in work_dir.glob('*/vis_data/scalars.json') for line in file.read_text().splitlines())


def last_checkpoint(work_dir):
    pointer = work_dir / POINTER
    return Path(pointer.read_text()).name if pointer.exists() else None


def begin(work_dir, pictures, *arguments, options=WORKERS, epochs=EPOCHS):
    return start(work_dir / 'output.txt', 'train', MINI, '--work-dir', work_dir, '--data-root', pictures, '--resume', *arguments,
                 epochs=epochs, options=options)


def assert_same_run(work_dir, unbroken):
    first, second = (read(folder / f'epoch_{EPOCHS}.pth') for folder in (unbroken, work_dir))
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


# ------------------------------------------------------------------------------------------------------------- killed

def test_killed_twice_and_resumed_it_is_the_unbroken_run(unbroken, pictures, tmp_path):
    moments = random.Random(1)
    for _ in range(2):
        process = begin(tmp_path, pictures)
        goal = steps_done(tmp_path) + moments.randint(6, 12)  # with five steps an epoch: in an epoch, a write or an evaluation
        wait_for(lambda goal=goal: steps_done(tmp_path) >= goal, process)
        process.kill()
        process.join()
    process = begin(tmp_path, pictures)
    process.join()
    assert process.exitcode == 0, (tmp_path / 'output.txt').read_text()[-3000:]
    assert (tmp_path / 'output.txt').read_text().count('going on from') == 2
    assert_same_run(tmp_path, unbroken)


def test_killed_twenty_times_while_it_writes_its_only_checkpoint(pictures, tmp_path):
    """The kills come at random moments of a write, with `max_keep_ckpts=1`: a whole checkpoint is there each time."""
    moments, epoch, hit = random.Random(2), 0, 0
    for _ in range(20):
        process = begin(tmp_path, pictures, epochs=1000, options=('default_hooks.checkpoint.max_keep_ckpts=1',
                        'train_cfg.val_interval=1000', 'train_dataloader.batch_size=20'))
        if any(tmp_path.glob(f'*{UNFINISHED}')):
            wait_for(lambda: not any(tmp_path.glob(f'*{UNFINISHED}')), process)  # the one of the kill before
        wait_for(lambda: any(tmp_path.glob(f'*{UNFINISHED}')), process)
        process.join(moments.uniform(0, 0.1))
        process.kill()
        process.join()
        hit += any(tmp_path.glob(f'epoch_*{UNFINISHED}'))
        file, damaged = find_checkpoint(tmp_path)
        found = read(file)['meta']['epoch'] if file else 0
        assert not damaged
        assert found in (epoch, epoch + 1)  # of the epoch that was being written, nothing more than itself is lost
        assert len(list(tmp_path.glob('epoch_*.pth'))) <= 2
        epoch = found
    assert epoch >= 1
    assert hit >= 3, 'the kills came too late to hit a write'


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


# --------------------------------------------------------------------------------------------------------- broken off

@pytest.mark.parametrize('kind', [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_the_step_it_is_at_and_resumes_there(kind, unbroken, pictures, tmp_path):
    process = begin(tmp_path, pictures)
    wait_for(lambda: steps_done(tmp_path) >= 7, process)
    os.kill(process.pid, kind)
    process.join()
    output = (tmp_path / 'output.txt').read_text()
    assert process.exitcode == 130, output[-3000:]
    assert 'Traceback' not in output
    assert 'batches of epoch 2, as asked' in output
    assert 'interrupted.pth. Go on with --resume' in output
    done = steps_done(tmp_path)
    process = begin(tmp_path, pictures)
    process.join()
    assert process.exitcode == 0
    assert steps_done(tmp_path) == EPOCHS * 5 >= done  # no step was repeated
    assert not (tmp_path / 'interrupted.pth').exists()
    assert_same_run(tmp_path, unbroken)
