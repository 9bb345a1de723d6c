"""A resumed run has the learning rates of an undisturbed one of its length; `-s` prints them."""
import sys
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from ghostdet.training.loops import ResumableTrainLoop
from ghostdet.training.resumed_config import follow_config
from ghostdet.training.resumed_schedule import follow_schedule, scheduled_values

WARM_UP = dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=7)
COSINE = [WARM_UP, dict(type='CosineAnnealingLR', by_epoch=True, eta_min_ratio=0.01, convert_to_iter_based=True)]
STEPS = [WARM_UP, dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1)]
MOMENTUM = [*STEPS, dict(type='CosineAnnealingMomentum', by_epoch=True, eta_min=0.5, convert_to_iter_based=True)]
PLATEAU = [WARM_UP, dict(type='ReduceOnPlateauLR', monitor='AP', rule='greater')]


class Run:
    """The schedules of a run without its training: `rates` has those of each iteration."""

    def __init__(self, schedules, epochs=12, length=5, rate=0.1, optimizer=torch.optim.SGD):
        weights = [torch.zeros(1, requires_grad=True) for _ in range(3)]
        groups = [dict(params=[weights[0]]), dict(params=[weights[1]], lr=rate / 3), dict(params=[weights[2]])]
        momentum = {} if optimizer is torch.optim.AdamW else dict(momentum=0.9)
        self.optim_wrapper, self.message_hub = OptimWrapper(optimizer(groups, rate, **momentum)), SimpleNamespace()
        self.train_dataloader, self.max_epochs, self.max_iters = range(length), epochs, epochs * length
        self.train_loop = self._train_loop = object.__new__(ResumableTrainLoop)
        self.train_loop.batches_done, self.epoch, self.logger = 0, 0, SimpleNamespace(debug=lambda text: None)
        self.schedules = schedules
        with DefaultScope.overwrite_default_scope('mmengine'):
            self.param_schedulers = Runner._build_param_scheduler(self, schedules, self.optim_wrapper)
        self.message_hub.runtime_info = dict(max_epochs=epochs, max_iters=self.max_iters)
        self.rates, self.others = [], []

    def train(self, until, batches=0):
        """Go on to an epoch, and some batches of the next one."""
        for epoch in range(self.epoch, until + bool(batches)):
            for batch in range(self.train_loop.batches_done, batches if epoch == until else len(self.train_dataloader)):
                groups = self.optim_wrapper.param_groups
                self.rates.append([group['lr'] for group in groups])
                self.others.append([group['betas'] if 'betas' in group else group['momentum'] for group in groups])
                self.optim_wrapper.step()
                self.step(by_epoch=False)
                self.train_loop.batches_done = batch + 1
            if epoch < until:
                self.step(by_epoch=True)
                self.epoch, self.train_loop.batches_done = epoch + 1, 0
        return self

    def step(self, by_epoch):
        for schedule in self.param_schedulers:
            if schedule.by_epoch is by_epoch:
                schedule.step()

    def resumed(self, schedules, **settings):
        """A run with other settings that continues from here."""
        run, begun_as = Run(schedules, **settings), deepcopy(self.message_hub.runtime_info)
        begun = scheduled_values(run)
        run.optim_wrapper.load_state_dict(deepcopy(self.optim_wrapper.state_dict()))
        run.message_hub.runtime_info, run.epoch = begun_as, self.epoch
        run.train_loop.batches_done = self.train_loop.batches_done
        follow_schedule(run, begun, [deepcopy(one.state_dict()) for one in self.param_schedulers])
        return run


def stretched(schedules, old, new):
    """The schedules of a config for `old` epochs in a resumed run of `new`."""
    config = [Config(dict(train_cfg=dict(max_epochs=epochs), param_scheduler=deepcopy(schedules), work_dir='w'))
              for epochs in (old, new)]
    follow_config(config[1], dict(cfg=config[0].pretty_text))
    return config[1].to_dict()['param_scheduler']


def assert_same(mine, theirs):
    torch.testing.assert_close(*(torch.tensor(values, dtype=torch.float64) for values in (mine, theirs)), rtol=1e-12,
                               atol=0)


@pytest.mark.parametrize(('schedules', 'optimizer'), [
    (COSINE, torch.optim.SGD), (STEPS, torch.optim.AdamW), (MOMENTUM, torch.optim.SGD), (MOMENTUM, torch.optim.AdamW)],
    ids=['cosine', 'steps', 'momentum', 'betas'])
@pytest.mark.parametrize('at', [(12, 0), (3, 2), (1, 0)], ids=str)
def test_a_longer_run_has_the_rates_of_an_undisturbed_one(schedules, optimizer, at, caplog):
    longer = stretched(schedules, 12, 24)
    short = Run(schedules, optimizer=optimizer).train(*at)
    resumed = short.resumed(longer, epochs=24, optimizer=optimizer).train(24)
    whole = Run(longer, epochs=24, optimizer=optimizer).train(24)
    done = len(short.rates)
    for mine, theirs in ((resumed.rates, whole.rates[done:]), (resumed.others, whole.others[done:])):
        assert_same(mine, theirs)
    for epoch in range(at[0] + 1, 24):
        first = epoch * 5
        sys.stdout.write(f'{epoch:5} {whole.rates[first][0]:.12g} {resumed.rates[first - done][0]:.12g}\n')
    rates = [f'{one:.3g}' for one in (short.optim_wrapper.param_groups[0]['lr'], whole.rates[done][0],
                                      whole.optim_wrapper.param_groups[0]['lr'])]
    assert ('the run is now 24 epochs long in place of 12: learning rate {} so far -> {} now, {} at the end'
            .format(*rates)) in caplog.text


@pytest.mark.parametrize('at', [(12, 0), (3, 2)], ids=str)
def test_a_run_of_the_same_length_has_the_saved_state_bit_for_bit(at, caplog):
    first = Run(COSINE).train(*at)
    for group in first.optim_wrapper.param_groups:
        group['lr'] *= 1.1  # what a schedule could not know
    second = first.resumed(COSINE)
    assert [one.state_dict() for one in second.param_schedulers] == [one.state_dict() for one in first.param_schedulers]
    assert scheduled_values(second) == scheduled_values(first)
    assert caplog.text == ''


def test_another_batch_size_and_rate_are_followed_from_the_same_epoch(caplog):
    """Epochs of ten iterations in place of five, with half the rate."""
    other = dict(length=10, rate=0.05)
    resumed = Run(COSINE).train(6).resumed(COSINE, **other).train(12)
    whole = Run(COSINE, **other).train(12)
    assert_same(resumed.rates, whole.rates[60:])
    assert ('the run is now 120 iterations long in place of 60; the schedule begins with a learning rate of 0.05, '
            '0.0167 in place of 0.1, 0.0333: ') in caplog.text


@pytest.mark.parametrize(('first', 'other'), [(COSINE, STEPS), (COSINE, []), ([], COSINE)],
                         ids=['steps', 'none', 'new'])
def test_another_schedule_in_the_config_counts(first, other, caplog):
    resumed = Run(first).train(9).resumed(other)
    whole = Run(other).train(12)
    assert resumed.train(12).rates == whole.rates[45:]
    assert 'the config has another schedule (param_scheduler) than the checkpoint: learning rate' in caplog.text
    caplog.clear()
    again = Run(first).train(9).resumed(other).train(10).resumed(other)
    assert caplog.text.count('learning rate') == 1  # the second resume changes nothing
    assert again.train(12).rates == whole.rates[50:]


def test_what_evaluations_reduced_stays_and_follows_another_rate():
    first = Run(PLATEAU).train(4)
    for group in first.optim_wrapper.param_groups:
        group['lr'] *= 0.01
    plateau = first.param_schedulers[1]
    plateau.best, plateau.num_bad_epochs = 0.4, 3
    second = first.resumed(PLATEAU, rate=0.05, epochs=24)
    assert second.optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.05 * 0.01)
    plateau = second.param_schedulers[1]
    assert (plateau.best, plateau.num_bad_epochs, plateau.end) == (0.4, 3, 24)
