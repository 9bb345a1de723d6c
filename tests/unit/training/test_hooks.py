"""The progress bar counts what is done, and is silent where the output is no terminal."""
import io
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from ghostdet.errors import UserError
from ghostdet.progress import progress
from ghostdet.training import hooks
from ghostdet.training.hooks import ChannelsLastHook, PatienceHook, ProgressBarHook


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize('stream', [Terminal(), io.StringIO()])
def test_bar_shows_epoch_loss_and_time_left_on_a_terminal_alone(monkeypatch, stream):
    monkeypatch.setattr('sys.stderr', stream)
    monkeypatch.setenv('COLUMNS', '120')
    monkeypatch.setenv('LINES', '40')
    runner = SimpleNamespace(rank=0, iter=2, max_iters=6, epoch=1, max_epochs=3, val_dataloader=range(2),
                             optim_wrapper=SimpleNamespace(get_lr=lambda: dict(lr=[0.1])))
    hook = ProgressBarHook()
    hook.before_train(runner)
    assert hook.training.n == 2  # where a resumed run stands
    hook.training.mininterval = 0
    hook.after_train_iter(runner, 0, outputs=dict(loss=1.25))
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0)
    hook.after_train_epoch(runner)
    hook.after_val_epoch(runner, {'coco/bbox_mAP': 0.25})
    hook.after_train(runner)
    shown = stream.getvalue()
    if stream.isatty():
        assert '3/6' in shown
        assert 'epoch=2/3' in shown
        assert 'loss=1.250' in shown
        assert 'evaluate' in shown
    else:  # less than ten seconds
        assert 'it/s' not in shown
    assert 'epoch 2 of 3: loss 1.250, learning rate 0.1, 0 s an epoch, 0 s left; AP 0.250\n' in shown


def test_progress_prints_forty_lines_of_a_run_of_many_epochs(monkeypatch):
    printed = []
    monkeypatch.setattr(hooks.LOGGER, 'info', printed.append)
    hook = ProgressBarHook()
    for epoch in range(240):
        hook.before_train_epoch(SimpleNamespace(epoch=epoch, max_epochs=240))
        hook.line = f'epoch {epoch + 1} of 240'
    assert printed == [f'epoch {epoch} of 240' for epoch in range(6, 240, 6)]


def test_channels_last_on_a_cpu():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    ChannelsLastHook().before_train(SimpleNamespace(model=model))
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert model(torch.rand(2, 3, 6, 6)).is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_channels_last_leaves_a_wrapped_model_alone():
    """DDP has noted the layout of each weight, and would write gradients in another order."""
    wrapped = torch.nn.DataParallel(torch.nn.Conv2d(3, 8, 3))
    ChannelsLastHook().before_train(SimpleNamespace(model=wrapped))
    assert wrapped.module.weight.is_contiguous()
    assert not wrapped.module.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(('shell', 'shown'),
                         [(None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel='one'), True)])
def test_progress_shows_in_a_kernel_and_not_where_one_is_only_imported(shell, shown, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr('sys.stderr', stream)
    monkeypatch.setitem(sys.modules, 'ipykernel', SimpleNamespace())
    monkeypatch.setitem(sys.modules, 'IPython', SimpleNamespace(get_ipython=lambda: shell))
    assert list(progress(range(3))) == [0, 1, 2]
    assert bool(stream.getvalue()) == shown


def test_progress_is_lines_where_the_output_is_no_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr('sys.stderr', stream)
    monkeypatch.setattr('ghostdet.progress.EVERY', 0.05)
    with progress(range(40), desc='train', total=40) as bar:
        for _ in bar:
            time.sleep(0.01)
            bar.set_postfix(loss='1.5', refresh=False)
            with bar.external_write_mode():  # as a message does
                pass
    lines = stream.getvalue().split('\n')
    assert len(lines) > 3
    assert all(line.startswith('train: ') and line.endswith(' left, loss=1.5') for line in lines[1:-1]), lines
    assert not {'\r', '\x1b'} & set(stream.getvalue())


def test_overview_is_drawn_once_and_keeps_no_split(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(hooks, 'write_overview', lambda split, folder: drawn.append((split, folder)))
    for rank, expected in ((0, [('train', tmp_path), ('val', tmp_path)]), (1, [])):
        drawn.clear()
        hook = hooks.OverviewHook(['train', 'val'], tmp_path)
        for _ in range(2):
            hook.before_train(SimpleNamespace(rank=rank))
        assert drawn == expected
        assert hook.checked == []


@pytest.mark.parametrize('state', [dict(best=0.3, best_epoch=2, waited=9, epoch=4),
                                   dict(best='a', best_epoch=2, waited=9, epoch=6), 5, None], ids=str)
def test_patience_counts_from_zero_if_evaluations_were_not_counted(state, request):
    """A run that went on without --patience; a checkpoint with another kind of state; NaN is no better AP."""
    hub = MessageHub.get_instance(request.node.name)
    hub.update_info('patience', state)
    hub.update_info('evaluated_epoch', 6)
    runner = SimpleNamespace(message_hub=hub, epoch=6, train_loop=SimpleNamespace(stop_training=False))
    hook = PatienceHook(patience=2)
    hook.before_train(runner)
    assert not runner.train_loop.stop_training
    for epoch, value in ((7, 0.1), (8, float('nan')), (9, 0.1)):
        runner.epoch = epoch
        hook.after_val_epoch(runner, {'coco/bbox_mAP': value})
        hook.after_val(runner)
        assert runner.train_loop.stop_training == (epoch == 9)
    with pytest.raises(UserError, match=r'--patience waits for a better coco/bbox_mAP, but .* gives accuracy/top1: '):
        hook.after_val_epoch(runner, {'accuracy/top1': 50})
