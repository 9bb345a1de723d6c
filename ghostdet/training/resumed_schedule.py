"""Continues the schedules of a resumed run: as they were saved, or those of a config that has changed since."""
from collections.abc import Sequence
from copy import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
from mmengine.runner import EpochBasedTrainLoop, Runner

from ghostdet.messages import LOGGER, shorten

# What a schedule counts or computes; the rest of its state are its settings.
COUNTED = ('last_step', '_global_step', '_last_value', 'base_values', 'best', 'num_bad_epochs', 'cooldown_counter')


def scheduled_values(runner: Runner) -> list[dict[str, float]]:
    """Return the learning rate of each parameter group and its initial value; also other values that are scheduled."""
    names = {'lr', *(schedule.param_name for schedule in runner.param_schedulers or [])}
    return [{f'initial_{name}': group[name] for name in names if name in group} | {
        key: group[key] for key in group for name in names if key == name or key.endswith(f'_{name}')}
        for group in runner.optim_wrapper.param_groups]


def follow_schedule(runner: Runner, begun: list[dict[str, float]], saved: list[dict]) -> None:
    """Continue with the saved schedules, bit for bit. If those of the config differ, continue with these instead.

    They differ if their settings do, also those that follow from the length of the run, or the learning rates that they
    begin with. The log then has the learning rates.

    Args:
        begun: the `scheduled_values` before the checkpoint was loaded.
        saved: the checkpoint's `param_schedulers`.
    """
    schedules, groups = runner.param_schedulers or [], runner.optim_wrapper.param_groups
    before, notes = scheduled_values(runner), _changed_length(runner)
    same = [_settings(one.state_dict()) for one in schedules] == [_settings(state) for state in saved]
    same_start = _starts(before) == _starts(begun)
    length = len(runner.train_dataloader) if isinstance(runner.train_loop, EpochBasedTrainLoop) else 0
    done = runner.epoch * length + getattr(runner.train_loop, 'batches_done', 0) if length else runner.iter
    if same and same_start:
        for schedule, state in zip(schedules, saved):
            schedule.load_state_dict(state)
    elif any(getattr(one, 'need_val_args', False) for one in schedules):
        _keep_counts(schedules, groups, begun, saved)
    else:
        course = Course(schedules, begun, length)
        course.play(0, done)
        course.write(schedules, groups)
    old, new = (dict.fromkeys(f'{group["initial_lr"]:.3g}' for group in values) for values in (before, begun))
    if old != new:
        notes.append(f'the schedule begins with a learning rate of {shorten([*new])} in place of {shorten([*old])}')
    elif not ((same and same_start) or notes):
        notes.append('the config has another schedule (param_scheduler) than the checkpoint')
    if notes:
        rest = Course(schedules, scheduled_values(runner), length)
        now = rest.rate
        rest.play(done, runner.max_iters)
        LOGGER.info(f'{"; ".join(notes)}: learning rate {max(group["lr"] for group in before):.3g} so far -> '
                    f'{now:.3g} now, {rest.rate:.3g} at the end')


def _settings(state: dict) -> dict:
    return {key: value for key, value in state.items() if key not in COUNTED}


def _starts(values: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in group.items() if key.startswith('initial_')} for group in values]


def _changed_length(runner: Runner) -> list[str]:
    """Return what is to be said of a run of another length than the checkpoint's, whose messages are loaded."""
    for unit, new in (('epochs', runner.max_epochs), ('iterations', runner.max_iters)):
        old = runner.message_hub.runtime_info.get(f'max_{unit}'.replace('iterations', 'iters'), new)
        if old != new:
            return [f'the run is now {new} {unit} long in place of {old}']
    return []


def _keep_counts(schedules: Sequence[Any], groups: list[dict], begun: list[dict[str, float]],
                 saved: list[dict]) -> None:
    """Continue schedules that depend on evaluations, which cannot be played, with their own settings."""
    for schedule, state in zip(schedules, saved):
        schedule.load_state_dict({key: state[key] for key in COUNTED if key in state})
    for group, values in zip(groups, begun):
        group['lr'] *= values['initial_lr'] / (group.get('initial_lr') or values['initial_lr'])
        group['initial_lr'] = values['initial_lr']


class Course:
    """The values that schedules set from some position of a run on, without the run.

    Each value is an array with one entry for each parameter group: many groups take no more time than one.

    Args:
        schedules: mmengine's; they stay as they are.
        values: the `scheduled_values` there.
        length: iterations of an epoch; 0: the run has no epochs.
    """

    def __init__(self, schedules: Sequence[Any], values: list[dict[str, float]], length: int) -> None:
        self.values: dict[str, Any] = {key: np.array([group[key] for group in values]) for key in values[0]}
        # The schedules set the values in an optimizer; mmengine's warn if it has made no step.
        optimizer = SimpleNamespace(param_groups=[self.values], step=SimpleNamespace(_with_counter=True),
                                    _global_step=0)
        self.schedules, self.length = [copy(schedule) for schedule in schedules], length
        for schedule in self.schedules:
            schedule.optimizer, schedule.base_values = optimizer, [self.values[f'initial_{schedule.param_name}']]
            schedule._last_value = [self.values[schedule.param_name]]
            self.values['betas'] = (0., 0.)  # a schedule of Adam's momentum sets them, too

    @property
    def rate(self) -> float:
        """The largest learning rate of a group."""
        return float(self.values['lr'].max())

    def play(self, start: int, stop: int) -> None:
        """Make the steps of the iterations from `start` to `stop`, and of the epochs that end there."""
        for iteration in range(start + 1, stop + 1):
            for by_epoch in (False, True):
                for schedule in self.schedules:
                    if schedule.by_epoch is by_epoch and not (
                            by_epoch and (not self.length or iteration % self.length)):
                        schedule.step()

    def write(self, schedules: Sequence[Any], groups: list[dict]) -> None:
        """Set the state of `schedules` and the values in the optimizer's groups."""
        for schedule, played in zip(schedules, self.schedules):
            schedule.load_state_dict({**played.state_dict(), 'base_values': played.base_values[0].tolist(),
                                      '_last_value': played._last_value[0].tolist()})
        for index, group in enumerate(groups):
            group.update({key: float(value[index]) for key, value in self.values.items() if key != 'betas'})
            if 'momentum' in group and 'betas' in group:
                group['betas'] = (group['momentum'], group['betas'][1])
