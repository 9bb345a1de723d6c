"""Hooks of a run: progress bars, pictures of the data, a check for finite losses, and the memory layout on a CPU."""
import math
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from tqdm.contrib.logging import logging_redirect_tqdm

from ghostdet.data.check import Checked
from ghostdet.data.overview import write_overview
from ghostdet.errors import UserError
from ghostdet.messages import LOGGER
from ghostdet.progress import progress

CURES = ('Usual fixes: gradient clipping (optim_wrapper.clip_grad), which you can add with --resume; or a lower '
         'learning rate or a longer warm-up, which need a run without --resume, since --resume restores the saved '
         'schedule')


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Shows a progress bar for training and for each evaluation, in a terminal or a notebook."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.training: Any = None
        self.evaluating: Any = None
        self.redirect: Any = None

    def before_run(self, runner: Runner) -> None:
        """Print log lines above the bars."""
        level = runner.logger.handlers[0].level  # mmengine's own: only errors, except in the first process
        self.redirect = logging_redirect_tqdm(loggers=[runner.logger])
        self.redirect.__enter__()
        runner.logger.handlers[-1].setLevel(level)  # tqdm's handler has no level

    def after_run(self, runner: Runner) -> None:
        """Close the bars, and restore the logger's output."""
        self.close()

    def close(self) -> None:
        """Close open bars, and restore the logger's output. Also called when a run fails."""
        for bar in (self.training, self.evaluating):
            if bar is not None:
                bar.close()
        if self.redirect is not None:
            self.redirect.__exit__(None, None, None)
            self.redirect = None

    def before_train(self, runner: Runner) -> None:
        """Open the training bar at the current iteration."""
        self.training = _bar('train', runner.max_iters, runner.iter, runner)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance the bar by one step; show epoch and loss."""
        assert self.training is not None
        if not self.training.disable and 'loss' in (outputs or {}):
            self.training.set_postfix(epoch=f'{runner.epoch + 1}/{runner.max_epochs}',
                                      loss=f'{_number(outputs["loss"]):.3f}', refresh=False)
        self.training.update()

    def after_train(self, runner: Runner) -> None:
        """Close the training bar."""
        assert self.training is not None
        self.training.close()

    def before_val_epoch(self, runner: Runner) -> None:
        """Open the evaluation's bar."""
        self.evaluating = _bar('evaluate', len(runner.val_dataloader), 0, runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Open the evaluation's bar."""
        self.evaluating = _bar('evaluate', len(runner.test_dataloader), 0, runner)

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Advance the bar by one batch."""
        assert self.evaluating is not None
        self.evaluating.update()

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Close the evaluation's bar."""
        assert self.evaluating is not None
        self.evaluating.close()

    after_test_epoch = after_val_epoch


@HOOKS.register_module()
class LossCheckHook(Hook):
    """Stops a run when the loss is NaN or infinite, before a checkpoint is saved."""

    priority = 'HIGHEST'

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Check the loss of each step.

        Raises:
            UserError: the loss is NaN or infinite; the message names the images of the step.
        """
        if 'loss' not in (outputs or {}) or math.isfinite(_number(outputs['loss'])):
            return
        losses = ', '.join(f'{name} {_number(value):g}' for name, value in outputs.items() if 'loss' in name)
        images = [f'{sample.get("img_id", "?")} ({sample.get("img_path", "?")})'
                  for sample in data_batch['data_samples']]
        raise UserError(
            f'the loss is not finite in epoch {runner.epoch + 1}, iteration {batch_idx + 1} of '
            f'{len(runner.train_dataloader)} ({losses}). The images of this step: {", ".join(images)}. The run has '
            f'stopped; the last checkpoint in {runner.work_dir} is from an earlier step. If the same images fail each '
            f'time, check them and their boxes. {CURES}')


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains in channels-last layout on a CPU, where depthwise convolutions take less time in it.

    Changes nothing on a GPU and in a run of several processes: DDP keeps the layout that a weight had when it wrapped
    the model, and would write the elements of a gradient in another order, silently.
    """

    def before_train(self, runner: Runner) -> None:
        """Convert the weights; features follow them."""
        if next(runner.model.parameters()).device.type == 'cpu' and not is_model_wrapper(runner.model):
            runner.model.to(memory_format=torch.channels_last)


class OverviewHook(Hook):
    """Draws a run's images with their boxes; after all that can stop the run early, as drawing takes time.

    Args:
        checked: the splits.
        folder: where the pictures and tables go.
    """

    def __init__(self, checked: list[Checked], folder: Path) -> None:
        self.checked, self.folder = checked, folder

    def before_train(self, runner: Runner) -> None:
        """Write the pictures and tables, in one process, and let the splits go: of COCO they take much memory."""
        splits, self.checked = self.checked, []
        if runner.rank == 0:
            for split in splits:
                write_overview(split, self.folder)
            LOGGER.info(f'the images with their boxes: {self.folder}/train.png and val.png')


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, torch.Tensor) else value)


def _bar(name: str, total: int, done: int, runner: Runner) -> Any:
    return progress(desc=name, total=total, initial=done, shown=runner.rank == 0, dynamic_ncols=True)
