"""The Python API: what a script or a notebook calls."""
import errno
import logging
import signal

import pytest

import ghostdet
from ghostdet.errors import UserError
from ghostdet.training.runner import DetectionRunner
from tests.conftest import MINI


@pytest.mark.parametrize(('option', 'message'), [
    ({'model.backbone.width': -1}, 'ValueError: .*width=-1 is not allowed'),
    ({'optim_wrapper.optimizer.type': 'SGDD'}, 'SGDD|TypeError'), ({'train_cfg.max_epochs': '1'}, 'AssertionError'),
    ({'train_dataloader.batch_size': 0}, 'batch_size')])
def test_a_config_whose_parts_cannot_be_built(option, message, shapes, tmp_path):
    with pytest.raises(UserError, match=rf'the run cannot be set up \(.*({message})'):
        ghostdet.train(MINI, data_root=shapes, work_dir=tmp_path, from_scratch=True, cfg_options=option)


def test_runs_that_start_in_the_same_second_have_their_own_names(shapes, tmp_path):
    names = []
    for folder in ('first', 'second'):
        with pytest.raises(UserError):
            ghostdet.train(MINI, data_root=shapes, work_dir=tmp_path / folder, from_scratch=True,
                           cfg_options={'optim_wrapper.optimizer.type': 'SGDD'})
        names += [line for line in (tmp_path / folder / 'retinanet_ghostnet_1.1x_mini.py').read_text().splitlines()
                  if line.startswith('experiment_name')]
    assert len(set(names)) == 2


def test_a_disk_that_is_full_before_the_first_step_keeps_its_own_error(shapes, tmp_path, monkeypatch):
    """Which the commands explain."""
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(DetectionRunner, 'load_or_resume', full)
    with pytest.raises(OSError, match='No space left'):
        ghostdet.train(MINI, data_root=shapes, work_dir=tmp_path, from_scratch=True)


def test_a_call_leaves_signals_and_loggers_of_the_process_alone(trained, shapes, tmp_path):
    handlers = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    root = list(logging.getLogger().handlers)
    report = ghostdet.evaluate(trained / 'epoch_2.pth', data_root=shapes, work_dir=tmp_path, cfg_options={
        'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False})
    assert 0 <= report.ap <= 1
    assert report.table.metrics['AP'] == report.ap
    assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert logging.getLogger().handlers == root
