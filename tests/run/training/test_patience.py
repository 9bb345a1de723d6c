"""A run with --patience stops at one epoch, however often it is killed and resumed."""
import shutil

import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ghostdet.weights.checkpoint_file import read_torch
from tests.conftest import MINI, nightly, run_tool

AP = [0.1, 0.3, 0.2, 0.3, 0.4, 0.1]  # of epochs 1 to 6: without an end, patience 2 stops after epoch 4
STOPPED = ('the run stops after epoch 4: 2 evaluations in a row had no better AP than the 0.300 of epoch 2 '
           '(best_coco_bbox_mAP_epoch_2.pth). To train on, use --resume with a larger --patience, or without it')


@HOOKS.register_module()
class GivenAP(Hook):
    """Replaces the AP of each epoch, and keeps what a kill in an evaluation, or in an epoch, would leave."""

    priority = 'VERY_HIGH'

    def __init__(self, snapshots=None):
        self.snapshots = snapshots

    def before_val(self, runner):
        if self.snapshots:
            shutil.copytree(runner.work_dir, f'{self.snapshots}/evaluation_{runner.epoch}')

    def before_train_epoch(self, runner):
        if self.snapshots:
            shutil.copytree(runner.work_dir, f'{self.snapshots}/epoch_{runner.epoch + 1}')

    def after_val_epoch(self, runner, metrics):
        metrics['coco/bbox_mAP'] = AP[runner.epoch - 1]


def train(work_dir, shapes, *arguments, options=(), epochs=6):
    return run_tool('train', MINI, '--work-dir', work_dir, '--data-root', shapes, *arguments, epochs=epochs,
                    options=['custom_hooks.0.type=GivenAP', 'train_dataloader.batch_size=8', *options])


@pytest.fixture(scope='module')
def stopped(shapes, tmp_path_factory):
    """A run of patience 2, and folders as it was at some moments."""
    root = tmp_path_factory.mktemp('patience')
    (root / 'moments').mkdir()
    assert train(root / 'run', shapes, '--patience', 2, options=[f'custom_hooks.0.snapshots={root}/moments']) == 0
    return root


def epochs_of(folder):
    return max(int(file.stem.split('_')[1]) for file in folder.glob('epoch_*.pth'))


def test_patience_stops_the_run_and_the_report_is_written(stopped):
    assert epochs_of(stopped / 'run') == 4
    assert (stopped / 'run/best_coco_bbox_mAP_epoch_2.pth').exists()
    assert (stopped / 'run/coco.json').exists()
    assert STOPPED in next((stopped / 'run').glob('*/*.log')).read_text()
    assert read_torch(stopped / 'run/epoch_4.pth')['message_hub']['runtime_info']['patience'] == dict(
        best=0.3, best_epoch=2, waited=2, epoch=4)


@pytest.mark.parametrize('moment', ['evaluation_4', *nightly('evaluation_3', 'epoch_4')])
def test_a_killed_run_stops_where_the_undisturbed_one_does(moment, stopped, shapes, tmp_path, capfd):
    shutil.copytree(stopped / 'moments' / moment, tmp_path / 'run')
    assert train(tmp_path / 'run', shapes, '--resume', '--patience', 2) == 0
    assert epochs_of(tmp_path / 'run') == 4
    assert STOPPED in capfd.readouterr().err


@pytest.mark.parametrize(('patience', 'epochs'), [(2, 4), (3, 6), *nightly((0, 6))])
def test_a_run_that_had_stopped_stops_at_once_unless_it_may_wait_longer(patience, epochs, stopped, shapes, tmp_path,
                                                                        capfd):
    shutil.copytree(stopped / 'run', tmp_path / 'run')
    assert train(tmp_path / 'run', shapes, '--resume', '--patience', patience) == 0
    assert epochs_of(tmp_path / 'run') == epochs
    shown = capfd.readouterr()
    assert (STOPPED in shown.err) == (patience == 2)
    assert 'tables, detections and images: ' in shown.out
    info = read_torch(tmp_path / f'run/epoch_{epochs}.pth')['message_hub']['runtime_info']
    assert info['best_score'] == max(AP[:epochs])
    if patience == 3:
        assert info['patience'] == dict(best=0.4, best_epoch=5, waited=1, epoch=6)


def test_a_negative_patience_is_refused(shapes, tmp_path, capfd):
    assert train(tmp_path, shapes, '--patience', -1) == 1
    assert '--patience -1: expected a number of evaluations, or 0 to train to the end' in capfd.readouterr().err
