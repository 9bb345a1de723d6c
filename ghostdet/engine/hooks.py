"""What happens at points of a run."""
import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from tqdm.contrib.logging import logging_redirect_tqdm

from ghostdet.errors import UserError
from ghostdet.progress import progress

CURES = 'a lower learning rate, a longer warm-up or clipped gradients (optim_wrapper.clip_grad) are the usual cures'


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """A bar with the time left for training, and one for every evaluation; none where the output is no terminal."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.training: Any = None
        self.evaluating: Any = None
        self.redirect: Any = None

    def before_run(self, runner: Runner) -> None:
        """Let log lines pass above the bars."""
        level = runner.logger.handlers[0].level  # of mmengine's own output: errors alone, in all processes but the first
        self.redirect = logging_redirect_tqdm(loggers=[runner.logger])
        self.redirect.__enter__()
        runner.logger.handlers[-1].setLevel(level)  # which tqdm forgets

    def after_run(self, runner: Runner) -> None:
        """Give the logger its own output back."""
        self.close()

    def close(self) -> None:
        """Close what is open, also where a run ends in an error."""
        for bar in (self.training, self.evaluating):
            if bar is not None:
                bar.close()
        if self.redirect is not None:
            self.redirect.__exit__(None, None, None)
            self.redirect = None

    def before_train(self, runner: Runner) -> None:
        """Open the bar, where a resumed run stands."""
        self.training = _bar('train', runner.max_iters, runner.iter, runner)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """One step on, with epoch and loss."""
        assert self.training is not None
        if not self.training.disable and 'loss' in (outputs or {}):
            self.training.set_postfix(epoch=f'{runner.epoch + 1}/{runner.max_epochs}', loss=f'{_number(outputs["loss"]):.3f}',
                                      refresh=False)
        self.training.update()

    def after_train(self, runner: Runner) -> None:
        """Close the bar."""
        assert self.training is not None
        self.training.close()

    def before_val_epoch(self, runner: Runner) -> None:
        """Open the evaluation's bar."""
        self.evaluating = _bar('evaluate', len(runner.val_dataloader), 0, runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Open the evaluation's bar."""
        self.evaluating = _bar('evaluate', len(runner.test_dataloader), 0, runner)

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """One batch on."""
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
    """Stop a run whose loss is no number any more, before anything of it is saved."""

    priority = 'HIGHEST'

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look at every step's loss.

        Raises:
            UserError: it is NaN or infinite; the message names the images of the step.
        """
        if 'loss' not in (outputs or {}) or math.isfinite(_number(outputs['loss'])):
            return
        losses = ', '.join(f'{name} {_number(value):g}' for name, value in outputs.items() if 'loss' in name)
        images = [f'{sample.get("img_id", "?")} ({sample.get("img_path", "?")})' for sample in data_batch['data_samples']]
        raise UserError(
            f'the loss is not finite in epoch {runner.epoch + 1}, iteration {batch_idx + 1} of {len(runner.train_dataloader)} '
            f'({losses}). The images of this step: {", ".join(images)}. The run has stopped; the last checkpoint in '
            f'{runner.work_dir} is from before. If it is always the same images, look at them and their boxes. If not: '
            f'{CURES}; then --resume')


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, torch.Tensor) else value)


def _bar(name: str, total: int, done: int, runner: Runner) -> Any:
    return progress(desc=name, total=total, initial=done, shown=runner.rank == 0, dynamic_ncols=True)
