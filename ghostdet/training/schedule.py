"""Fits the length of a run to its data or to a time, and its warm-up to its length."""
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from itertools import islice
from math import ceil, sqrt
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ghostdet.errors import UserError
from ghostdet.messages import LOGGER
from ghostdet.options import TrainOptions
from ghostdet.training.datasets import LOADERS
from ghostdet.training.runner import DetectionRunner

WARM_UP_FRACTION = 5  # a warm-up takes at most a fifth of the run
EVALUATIONS = 4  # of a run whose length is fitted
UNTIMED, TIMED = 4, 20  # steps: the first ones are slower
LONGEST = 60  # seconds of timing, if steps are slow


def fit_schedule(cfg: Config, images: int, options: TrainOptions, resumed: Config | None = None) -> None:
    """Set the number of epochs as the options, or the config's `schedule`, say; shorten a warm-up that is too long.

    A `schedule` holds for a config that still has its number of `epochs`. It leaves the config, so that training from
    the saved one repeats the run.

    Args:
        images: number of images that the run trains on.
        resumed: the config of the run that this one continues, which keeps the length that a time was measured for.

    Raises:
        UserError: `options.minutes` with a loop by iterations.
    """
    rule, loop = cfg.pop('schedule', None), cfg.train_cfg
    steps = _steps_per_epoch(cfg, images)
    if options.minutes and 'max_epochs' not in loop:
        raise UserError('--minutes sets a number of epochs, but the config\'s train_cfg counts iterations')
    if not steps or not isinstance(loop.get('max_epochs', 1), int):
        return  # mmengine refuses them
    named = _names(options.cfg_options, 'max_epochs')
    if options.minutes and resumed and named:
        LOGGER.info('--minutes has no effect beside train_cfg.max_epochs in a run that is continued')
    elif options.minutes and resumed:
        LOGGER.info('--minutes holds from the beginning of a run; this one keeps the epochs that it has')
        loop.update(max_epochs=resumed.train_cfg.max_epochs, val_interval=resumed.train_cfg.val_interval)
    elif options.minutes:
        loop.max_epochs = _epochs_within(cfg, options.minutes, steps)
    elif rule and loop.max_epochs == rule.epochs and not named:
        loop.max_epochs = ceil(max(rule.epochs * min(1, sqrt(rule.images / images)), rule.steps / steps))
    if rule or options.minutes:
        if not _names(options.cfg_options, 'val_interval'):
            loop.val_interval = max(1, loop.max_epochs // EVALUATIONS)
        LOGGER.info(f'schedule for {images:,} images: {loop.max_epochs} epochs of {steps} steps, '
                    f'{loop.max_epochs * steps:,} in all, with an evaluation after every {loop.val_interval} epochs. '
                    'For another length: --minutes N, or --cfg-options train_cfg.max_epochs=N')
    _shorten_warm_up(cfg, loop.get('max_iters') or loop.get('max_epochs', 1) * steps)


def _names(options: Any, key: str) -> bool:
    """Return whether settings of a config, with dots or in dicts, name a key of train_cfg."""
    return f'train_cfg.{key}' in options or key in (options.get('train_cfg') or {})


def _steps_per_epoch(cfg: Config, images: int) -> int:
    """Return the number of batches in an epoch; 0 if the batch size is not possible."""
    times, dataset = 1, cfg[LOADERS['train']].dataset
    while 'dataset' in dataset:
        times, dataset = times * dataset.get('times', 1), dataset.dataset
    batch = get_world_size() * cfg[LOADERS['train']].batch_size
    return ceil(times * images / batch) if batch >= 1 else 0


def _shorten_warm_up(cfg: Config, steps: int) -> None:
    """Shorten a linear warm-up by iterations that is longer than a fifth of the run to that, and say so."""
    limit = max(2, steps // WARM_UP_FRACTION)
    schedules = cfg.get('param_scheduler') or []
    for one in schedules if isinstance(schedules, list) else [schedules]:
        is_warm_up = one.get('type') == 'LinearLR' and not one.get('by_epoch', True) and not one.get('begin', 0)
        if is_warm_up and one.get('end', 0) > limit:
            LOGGER.info(f'warm-up of {one["end"]} iterations -> {limit}: the run has only {steps}')
            one['end'] = limit


# ------------------------------------------------------------------------------------------------------------ the time

def _epochs_within(cfg: Config, minutes: float, steps: int) -> int:
    """Return how many epochs, with their evaluations, fit into a time; measured on the first steps of the run."""
    start = time.monotonic()
    step, evaluation = _measure(cfg)
    left = 60 * minutes - (time.monotonic() - start) - EVALUATIONS * evaluation
    epochs = int(left / (steps * step))
    LOGGER.info(f'timed: {step:.2f} s a step, {evaluation:.0f} s an evaluation')
    if epochs < 1:
        LOGGER.warning(f'--minutes {minutes:g} is too short for an epoch, which takes {steps * step / 60:.1f} minutes '
                       'here, beside evaluations; the run has one epoch')
    chosen = [max(epochs, 1)]
    broadcast_object_list(chosen)  # all processes train for as long as the first
    return chosen[0]


def _measure(cfg: Config) -> tuple[float, float]:
    """Return the seconds of a training step and of an evaluation, by a short run that leaves nothing behind."""
    trial, timer = deepcopy(cfg), _Timer()
    trial.train_cfg.max_epochs = UNTIMED + TIMED  # an epoch has at least one step
    trial.default_hooks.pop('progress')
    trial.default_hooks.update(checkpoint=None, logger=None)
    trial.experiment_name += '_timing'
    with TemporaryDirectory() as folder, _quiet():
        trial.work_dir = folder
        runner = DetectionRunner.from_cfg(trial)
        runner.register_hook(timer)
        with suppress(_TimedError):
            runner.train()
    return timer.step, timer.evaluation


class _TimedError(Exception):
    """The timing is done."""


class _Timer(Hook):
    """Times some steps and a part of an evaluation, then ends the run."""

    def __init__(self) -> None:
        self.since: list[float] = []
        self.step = self.evaluation = 0.

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self.since.append(time.monotonic())
        done = len(self.since) - UNTIMED
        if done > 0 and (done == TIMED or self.since[-1] - self.since[UNTIMED - 1] > LONGEST):
            self.step = (self.since[-1] - self.since[UNTIMED - 1]) / done
            self.evaluation = self._evaluation(runner)
            raise _TimedError

    def _evaluation(self, runner: Runner) -> float:
        batches, start, done = runner.val_dataloader, time.monotonic(), 0
        runner.model.eval()
        for batch in islice(batches, 2):
            runner.model.val_step(batch)
            done += 1
        return (time.monotonic() - start) / max(done, 1) * len(batches)


@contextmanager
def _quiet() -> Iterator[None]:
    level = LOGGER.level
    LOGGER.setLevel(logging.ERROR)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
