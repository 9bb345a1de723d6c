"""Runs of two processes on CPUs: they train as one does, evaluate each image once, and end when one is killed."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from ghostdet.data.shapes import FolderSet, ShapesSet
from tests.conftest import MINI, ROOT, SHORT, nightly
from tests.processes import start

# As one process: two pictures a step, without flips, with an optimizer that does not magnify rounding, and without
# schedules, which count batches and not steps.
STEPS = ['train_dataloader.batch_size=1', 'train_dataloader.dataset.pipeline.3.prob=[0.0,0.0,0.0]',
         'model.backbone.norm_eval=True', 'optim_wrapper.optimizer.type=SGD', 'optim_wrapper.optimizer.lr=0.005',
         'param_scheduler=None']


@pytest.fixture(scope='module')
def odd(tmp_path_factory):
    """Ten pictures to train on, five to evaluate on."""
    root = tmp_path_factory.mktemp('odd')
    ShapesSet(train=10, val=5, size=64).write(root)
    return root


def two_ranks(tmp_path, *arguments, folders=('.', '.'), exitcode=0, **settings):
    """The tool in two processes that talk to each other, each in its folder; returns what they printed."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    ranks = [start(tmp_path / f'rank{rank}.log', *arguments, '--launcher', 'pytorch', environment=dict(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port,
        OMP_NUM_THREADS='1'), folder=str(folders[rank]), **settings) for rank in range(2)]
    for rank in ranks:
        rank.join(240)
    logs = [(tmp_path / f'rank{rank}.log').read_text() for rank in range(2)]
    assert [rank.exitcode for rank in ranks] == [exitcode, exitcode], '\n'.join(log[-3000:] for log in logs)
    return logs


def assert_same_weights(one, other):
    """Parameters of two runs in float64, which sum up the same gradients in another order."""
    first, second = (torch.load(file, weights_only=False)['state_dict'] for file in (one, other))
    compared = [key for key in first if not key.endswith(('running_mean', 'running_var', 'num_batches_tracked'))]
    assert len(compared) > 100
    for key in compared:
        assert first[key].dtype == torch.float64
        torch.testing.assert_close(second[key], first[key], rtol=0, atol=1e-10, msg=lambda text,
                                   key=key: f'{key}: {text}')


@pytest.mark.parametrize('backbone', ['ghostnet_1.1x', *nightly('mobilenetv2_1.0x', 'mobilenetv3_1.0x')])
def test_two_processes_train_what_one_with_two_accumulated_batches_does(backbone, odd, tmp_path):
    config = ROOT / f'configs/retinanet_{backbone}_mini.py'
    settings = dict(epochs=1, options=STEPS, float64=True)
    logs = two_ranks(tmp_path, 'train', config, '--work-dir', tmp_path / 'two', '--data-root', odd, **settings)
    settings['options'] = [*STEPS, 'optim_wrapper.accumulative_counts=2']
    alone = start(tmp_path / 'one.log', 'train', config, '--work-dir', tmp_path / 'one', '--data-root', odd, **settings)
    alone.join(240)
    assert alone.exitcode == 0, (tmp_path / 'one.log').read_text()[-2000:]
    assert_same_weights(tmp_path / 'one/epoch_1.pth', tmp_path / 'two/epoch_1.pth')
    assert 'a step has 2 here (2 processes x 1 images x 1 iterations)' in ''.join(logs)
    detections = json.loads((tmp_path / 'two/detections.bbox.json').read_text())
    single = json.loads((tmp_path / 'one/detections.bbox.json').read_text())
    assert {entry['image_id'] for entry in detections} == {1, 2, 3, 4, 5}
    assert abs(len(detections) - len(single)) < 0.02 * len(single)  # each image once, although five are no even number


def test_nanodet_plus_in_two_processes_trains_what_one_does_with_all_their_pictures(odd, tmp_path):
    """Its losses are divided by counts over all processes. The second epoch detaches the auxiliary branch."""
    config = ROOT / 'configs/nanodet-plus_repghostnet_1.11x_mini.py'
    # Norms that do not see the other pictures of a batch.
    options = [*STEPS, 'model.detach_epoch=1', *(f'model.{part}.norm_cfg.{key}' for part in ('neck', 'bbox_head')
                                                 for key in ('type=GN', 'num_groups=8'))]
    settings = dict(epochs=2, options=options, float64=True)
    two_ranks(tmp_path, 'train', config, '--work-dir', tmp_path / 'two', '--data-root', odd, **settings)
    options.append('train_dataloader.batch_size=2')
    alone = start(tmp_path / 'one.log', 'train', config, '--work-dir', tmp_path / 'one', '--data-root', odd, **settings)
    alone.join(240)
    assert alone.exitcode == 0, (tmp_path / 'one.log').read_text()[-2000:]
    for epoch in (1, 2):
        assert_same_weights(tmp_path / f'one/epoch_{epoch}.pth', tmp_path / f'two/epoch_{epoch}.pth')


@pytest.mark.nightly
def test_two_processes_stop_at_the_same_epoch(odd, tmp_path):
    options = [*STEPS, 'optim_wrapper.optimizer.lr=0']  # no evaluation is better than the first
    logs = two_ranks(tmp_path, 'train', MINI, '--work-dir', tmp_path / 'run', '--data-root', odd, '--patience', 1,
                     epochs=5, options=options)
    assert 'the run stops after epoch 2: 1 evaluations in a row had no better AP than ' in logs[0]
    assert {file.name for file in (tmp_path / 'run').glob('epoch_*.pth')} == {'epoch_1.pth', 'epoch_2.pth'}


@pytest.mark.nightly
def test_two_nodes_need_no_common_folder_but_for_what_they_resume(odd, tmp_path):
    folders = [tmp_path / 'node0', tmp_path / 'node1']
    for folder in folders:
        folder.mkdir()
    command, settings = ('train', MINI, '--work-dir', 'run', '--data-root', odd), dict(folders=folders, options=STEPS)
    logs = two_ranks(tmp_path, *command, epochs=1, **settings)
    assert {path.name for path in folders[0].rglob('*')} >= {'epoch_1.pth', 'last_checkpoint', 'coco.json',
                                                             'scalars.json'}
    assert [path for path in folders[1].rglob('*') if path.is_file()] == []
    assert 'epoch 1 of 1: ' in logs[0]
    assert 'epoch 1 of 1: ' not in logs[1]  # one process reports
    for log in two_ranks(tmp_path, *command, '--resume', epochs=2, exitcode=1, **settings):
        assert ('the processes continue from different checkpoints '
                '(epoch 1, iteration 5: 0; epoch 0, iteration 0: 1)') in log
    for name in ('last_checkpoint', 'epoch_1.pth'):
        shutil.copy(folders[0] / 'run' / name, folders[1] / 'run')
    two_ranks(tmp_path, *command, '--resume', epochs=2, **settings)
    assert (folders[0] / 'run/epoch_2.pth').exists()


@pytest.mark.nightly
def test_a_rank_that_is_killed_ends_the_job_and_resume_goes_on(odd, tmp_path):
    options = [*SHORT, *STEPS, 'train_cfg.max_epochs=200', 'default_hooks.checkpoint.max_keep_ckpts=1',
               'train_cfg.val_interval=500']
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
               str(ROOT / 'tools/train.py'), MINI, '--launcher', 'pytorch', '--work-dir', str(tmp_path / 'run'),
               '--data-root', str(odd), '--cfg-options', *options]
    with (tmp_path / 'log').open('w') as log:
        job = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                               env={**os.environ, 'OMP_NUM_THREADS': '1'})
        try:
            end = time.monotonic() + 180
            while not list((tmp_path / 'run').glob('epoch_*.pth')):
                assert job.poll() is None, (tmp_path / 'log').read_text()[-3000:]
                assert time.monotonic() < end
                time.sleep(0.2)
            ranks = subprocess.run(['pgrep', '-P', str(job.pid), '-f', 'tools/train.py'], capture_output=True,
                                   text=True)
            os.kill(int(ranks.stdout.split()[-1]), signal.SIGKILL)
            killed = time.monotonic()
            assert job.wait(60) != 0
            assert time.monotonic() - killed < 60
        finally:
            job.kill()
    assert re.search(r'Signal 9 \(SIGKILL\)', (tmp_path / 'log').read_text())
    done = max(int(file.stem.split('_')[1]) for file in (tmp_path / 'run').glob('epoch_*.pth'))
    settings = dict(epochs=done + 1, options=[*STEPS, 'train_cfg.val_interval=500'])
    logs = two_ranks(tmp_path, 'train', MINI, '--resume', '--work-dir', tmp_path / 'run', '--data-root', odd,
                     **settings)
    assert 'continuing from' in logs[0]
    assert (tmp_path / f'run/epoch_{done + 1}.pth').exists()


@pytest.mark.nightly
def test_the_classifier_needs_no_common_folder_either(tmp_path):
    FolderSet(train=12, val=5, size=32).write(tmp_path / 'data')
    folders = [tmp_path / 'node0', tmp_path / 'node1']
    for folder in folders:
        folder.mkdir()
    short = ['train_dataloader.batch_size=3', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0',
             'param_scheduler.0.end=1']
    logs = two_ranks(tmp_path, 'pretrain', ROOT / 'configs/pretrain/ghostnet_1.1x_shapes.py', '--work-dir', 'run',
                     '--data-root', tmp_path / 'data', folders=folders, short=short)
    assert '; top-1 ' in logs[0]
    assert (folders[0] / 'run/epoch_1.pth').exists()
