"""Hooks of a run: its progress, images of the data, a check of the loss, an early stop, the memory layout on a CPU."""
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ghostdet.data.checked import Checked
from ghostdet.data.overview import write_overview
from ghostdet.errors import UserError
from ghostdet.messages import LOGGER
from ghostdet.progress import duration, progress

# What the line of an epoch shows of an evaluation.
METRICS = {'coco/bbox_mAP': 'AP', 'coco/bbox_mAP_50': 'AP50', 'accuracy/top1': 'top-1', 'accuracy/top5': 'top-5'}
LINES = 40  # of a run with as many epochs or more
CURES = ('Usual fixes: gradient clipping (optim_wrapper.clip_grad), a lower learning rate, or a longer warm-up. Change '
         'them and continue with --resume')


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Shows the progress of training and of each evaluation, and one line for each epoch."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.training: Any = None
        self.evaluating: Any = None
        self.losses: list[float] = []  # of the epoch
        self.since, self.epochs = 0.0, 0  # when this process began, and how many epochs it has trained
        self.line = ''  # of the epoch, until its evaluation is done

    def close(self) -> None:
        """Close open bars, and print the last line. Also called when a run fails."""
        self._print_line()
        for bar in (self.training, self.evaluating):
            if bar is not None:
                bar.close()

    def before_train(self, runner: Runner) -> None:
        """Open the training bar at the current iteration."""
        self.since = time.monotonic()
        self.training = _bar('train', runner.max_iters, runner.iter, runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Print the line of the epoch before; of a run of many epochs, of some."""
        if runner.epoch % max(1, runner.max_epochs // LINES) == 0:
            self._print_line()
        self.line = ''
        self.losses.clear()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance the bar by one step; show epoch and loss."""
        if 'loss' in (outputs or {}):
            self.losses.append(_number(outputs['loss']))
            self.training.set_postfix(epoch=f'{runner.epoch + 1}/{runner.max_epochs}', loss=f'{self.losses[-1]:.3f}',
                                      refresh=False)
        self.training.update()

    def after_train_epoch(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Prepare the line of the epoch."""
        self.epochs += 1
        each, left = (time.monotonic() - self.since) / self.epochs, runner.max_epochs - runner.epoch - 1
        rate = max(runner.optim_wrapper.get_lr()['lr'])
        self.line = (f'epoch {runner.epoch + 1} of {runner.max_epochs}: loss {mean(self.losses or [math.nan]):.3f}, '
                     f'learning rate {rate:.2g}, {duration(each)} an epoch, {duration(left * each)} left')

    def after_train(self, runner: Runner) -> None:
        """Close the training bar."""
        self.close()

    def before_val_epoch(self, runner: Runner) -> None:
        """Open the evaluation's bar."""
        self.evaluating = _bar('evaluate', len(runner.val_dataloader), 0, runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Open the evaluation's bar."""
        self.evaluating = _bar('evaluate', len(runner.test_dataloader), 0, runner)

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Advance the bar by one batch."""
        self.evaluating.update()

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Close the evaluation's bar; print the line of the epoch with its accuracy."""
        self.evaluating.close()
        metrics = metrics or {}
        shown = [f'{name} {metrics[key]:.3f}' for key, name in METRICS.items() if key in metrics]
        self.line = self.line and '; '.join([self.line, *shown])
        self._print_line()

    def after_test_epoch(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Close the evaluation's bar."""
        self.evaluating.close()

    def _print_line(self) -> None:
        if self.line:
            LOGGER.info(self.line)
        self.line = ''


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
class PatienceHook(Hook):
    """Stops a run after `patience` evaluations in a row without a better result; the best checkpoint stays.

    Its state is in the message hub, and so in the checkpoints: a resumed run stops where an undisturbed one does.

    Args:
        monitor: the result of an evaluation that should grow.
    """

    priority = 'LOW'  # before the checkpoint of an evaluation is saved

    def __init__(self, patience: int, monitor: str = 'coco/bbox_mAP') -> None:
        self.patience, self.monitor = patience, monitor

    def before_train(self, runner: Runner) -> None:
        """Stop a resumed run that had stopped. Count from zero if the last evaluation was not counted."""
        info = runner.message_hub.runtime_info
        state = info.get('patience')
        if not (isinstance(state, dict) and state.get('epoch') == info.get('evaluated_epoch')
                and all(type(state.get(key)) in (int, float) for key in ('best', 'best_epoch', 'waited'))):
            state = dict(best=-math.inf, best_epoch=0, waited=0)
        runner.message_hub.update_info('patience', state)
        self._stop_if_due(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Count an evaluation.

        Raises:
            UserError: it has no result `monitor`.
        """
        state, metrics = runner.message_hub.get_info('patience'), metrics or {}
        if self.monitor not in metrics:
            raise UserError(f'--patience waits for a better {self.monitor}, but an evaluation of this config gives '
                            f'{", ".join(metrics) or "nothing"}: leave out --patience, or add a PatienceHook with '
                            'another `monitor` to custom_hooks')
        better = float(metrics[self.monitor]) > state['best']
        best = (dict(best=float(metrics[self.monitor]), best_epoch=runner.epoch, waited=0) if better else
                dict(state, waited=state['waited'] + 1))
        runner.message_hub.update_info('patience', dict(best, epoch=runner.epoch))

    def after_val(self, runner: Runner) -> None:
        """Stop the run if it has waited long enough. By now, the line of the epoch is on the screen."""
        self._stop_if_due(runner)

    def _stop_if_due(self, runner: Runner) -> None:
        state, file = runner.message_hub.get_info('patience'), runner.message_hub.get_info('best_ckpt')
        if state['waited'] >= self.patience:
            runner.train_loop.stop_training = True
            name = METRICS.get(self.monitor, self.monitor)
            LOGGER.info(f'the run stops after epoch {runner.epoch}: {state["waited"]} evaluations in a row had no '
                        f'better {name} than the {state["best"]:.3f} of epoch {state["best_epoch"]}'
                        + (f' ({Path(str(file)).name})' if file else '')
                        + '. To train on, use --resume with a larger --patience, or without it')


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
    """Draws the images of a run's data with their boxes. Drawing takes time, so it comes after all that can stop the
    run early.

    Args:
        checked: the splits.
        folder: where the images and tables go.
    """

    def __init__(self, checked: Sequence[Checked], folder: Path) -> None:
        self.checked, self.folder = list(checked), folder

    def before_train(self, runner: Runner) -> None:
        """Write the images and tables, in one process, and let the splits go: of COCO they take much memory."""
        splits, self.checked = self.checked, []
        if runner.rank == 0:
            for split in splits:
                write_overview(split, self.folder)
            LOGGER.info(f'the images with their boxes: {self.folder}/train.png and val.png')


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, torch.Tensor) else value)


def _bar(name: str, total: int, done: int, runner: Runner) -> Any:
    return progress(desc=name, total=total, initial=done, shown=runner.rank == 0, dynamic_ncols=True)
