"""The Python API: what a script or a notebook calls."""
import errno
import logging
import signal
import sys

import pytest

import ghostdet
from ghostdet.engine.runner import DetectionRunner
from ghostdet.errors import UserError
from tests.conftest import MINI, ROOT, made_by

EXAMPLE = ROOT / 'examples/train_export_detect.py'


@pytest.mark.slow
def test_the_example_runs_twice_in_one_process(shapes, tmp_path):
    assert len([line for line in EXAMPLE.read_text().split('"""')[2].splitlines() if line]) <= 15
    lines = made_by(sys.executable, EXAMPLE, tmp_path, shapes).splitlines()
    told = [line for line in lines if line.startswith(('first', 'second'))]
    assert [line.partition(':')[0] for line in told] == ['first', 'second']
    assert told[0].partition(':')[2] == told[1].partition(':')[2]  # of one seed, whatever ran before
    for run in ('first', 'second'):
        assert (tmp_path / run / 'test/coco.json').is_file()
        assert len(list((tmp_path / run).glob('*/vis_data/scalars.json'))) == 1


@pytest.mark.parametrize('call', [
    lambda: ghostdet.train('none.py'), lambda: ghostdet.evaluate(MINI, 'none.pth'),
    lambda: ghostdet.export(MINI, 'none.pth', 'out.txt'), lambda: ghostdet.export(MINI, 'none.pth', 'out.onnx'),
    lambda: ghostdet.export(MINI, 'none.pth', None), lambda: ghostdet.export(MINI, 'none.pth', 'out.onnx', precision='fp16'),
    *(lambda shape=shape: ghostdet.export(MINI, 'none.pth', 'out.onnx', shape=shape)
      for shape in (320, (320,), ('320', '320'), (320.5, 320), (0, 320))),
    lambda: ghostdet.train(MINI, resume=1), lambda: ghostdet.train(MINI, data_root=3), lambda: ghostdet.train(dict(a=1)),
    lambda: ghostdet.train(MINI, load_from='a.pth', from_scratch=True),
    lambda: ghostdet.train(MINI, cfg_options={'val_dataloader': None})])
def test_what_is_wrong_is_raised(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        call()


@pytest.mark.slow
@pytest.mark.parametrize(('option', 'message'), [
    ({'model.backbone.width': -1}, 'ValueError: .*width=-1 is not allowed'),
    ({'optim_wrapper.optimizer.type': 'SGDD'}, 'SGDD|TypeError'), ({'train_cfg.max_epochs': '1'}, 'AssertionError'),
    ({'train_dataloader.batch_size': 0}, 'batch_size')])
def test_a_config_whose_parts_cannot_be_built(option, message, shapes, tmp_path):
    with pytest.raises(UserError, match=rf'the run cannot be set up \(.*({message})'):
        ghostdet.train(MINI, data_root=shapes, work_dir=tmp_path, from_scratch=True, cfg_options=option)


@pytest.mark.slow
def test_runs_that_start_in_the_same_second_have_their_own_names(shapes, tmp_path):
    names = []
    for folder in ('first', 'second'):
        with pytest.raises(UserError):
            ghostdet.train(MINI, data_root=shapes, work_dir=tmp_path / folder, from_scratch=True,
                           cfg_options={'optim_wrapper.optimizer.type': 'SGDD'})
        names += [line for line in (tmp_path / folder / 'retinanet_ghostnet_1.1x_mini.py').read_text().splitlines()
                  if line.startswith('experiment_name')]
    assert len(set(names)) == 2


@pytest.mark.slow
def test_a_disk_that_is_full_before_the_first_step_keeps_its_own_error(shapes, tmp_path, monkeypatch):
    """Which the commands explain."""
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(DetectionRunner, 'load_or_resume', full)
    with pytest.raises(OSError, match='No space left'):
        ghostdet.train(MINI, data_root=shapes, work_dir=tmp_path, from_scratch=True)


@pytest.mark.slow
def test_a_call_leaves_signals_and_loggers_of_the_process_alone(trained, shapes, tmp_path):
    handlers = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    root = list(logging.getLogger().handlers)
    report = ghostdet.evaluate(MINI, trained / 'epoch_2.pth', data_root=shapes, work_dir=tmp_path, cfg_options={
        'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False})
    assert 0 <= report.ap <= 1
    assert report.table.metrics['AP'] == report.ap
    assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert logging.getLogger().handlers == root
