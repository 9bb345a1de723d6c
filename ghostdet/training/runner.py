"""mmengine's runner, with fixes for its silent failures."""
import io
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from ghostdet.errors import UserError, has_own_message, reason
from ghostdet.evaluation.coco_table import CocoTable
from ghostdet.evaluation.metrics import CocoTableMetric
from ghostdet.messages import LOGGER, log_to, shorten
from ghostdet.models.inference import optimize
from ghostdet.training.checkpoints import check_classes, ignored_orientation, learned_classes, unwrapped
from ghostdet.training.datasets import reads_upright
from ghostdet.training.hooks import ProgressBarHook
from ghostdet.training.initial_weights import without_pretrained
from ghostdet.training.loops import ResumableTrainLoop
from ghostdet.training.resumed_schedule import follow_schedule, scheduled_values
from ghostdet.weights.class_rows import by_name, labels_in_data
from ghostdet.weights.fitting import load_fitting, read_checkpoint


def freeze(part: nn.Module) -> None:
    """Keep a part of a model as it is: it gets no gradients, and its batch norm statistics stay."""
    def stay(module: nn.Module, _: Any) -> None:
        module.eval()  # training mode is set again in each epoch
    part.requires_grad_(False)
    part.register_forward_pre_hook(stay)


class _Printed(io.TextIOBase):
    """A text stream that logs what is printed to it, line by line."""

    def __init__(self, logger: MMLogger) -> None:
        self.logger = logger

    def write(self, text: str) -> int:
        if text.strip():
            self.logger.info(text.rstrip())
        return len(text)


@RUNNERS.register_module()
class DetectionRunner(Runner):
    """mmengine's Runner with checked checkpoints and resumable runs, for a config of `training.plan`.

    - Loading a checkpoint logs what was loaded. In a test or a resumed run it must fit the model: mmengine loads a
      checkpoint of another model without an error and evaluates random weights.
    - All processes continue from the same iteration, and a run from the position within an epoch and the gradients that
      it had. Its learning rates follow a changed config.
    """

    model: nn.Module
    must_fit = False  # whether a checkpoint must have every tensor of the model
    optimized = False  # whether a test uses the model's faster copy for inference
    is_test = False
    is_set_up = False  # whether everything is built and loaded
    _loaded: dict | None = None

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build mmengine's logger. It logs to its file; only errors go to the screen, which has `LOGGER`'s messages."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                log_to(handler)
            elif type(handler) is logging.StreamHandler:  # mmengine's own, not one that another program added
                handler.setLevel(logging.ERROR)
        return logger

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """Within this context, what mmdet and pycocotools print goes to the log file. At its end, close the bars."""
        try:
            with redirect_stdout(_Printed(self.logger)):
                yield
        except UserError as error:
            self.logger.info(f'error: {error}')  # the command prints it
            raise
        finally:
            for hook in self.hooks:
                if isinstance(hook, ProgressBarHook):
                    hook.close()
            LOGGER.handlers = [handler for handler in LOGGER.handlers if handler not in self.logger.handlers]

    @property
    def table(self) -> CocoTable | None:
        """COCO's table of the last evaluation; None if there was none in this process, or by another metric."""
        loop = self.test_loop if self.is_test else self.val_loop
        metrics = getattr(getattr(loop, 'evaluator', None), 'metrics', [])
        return next((metric.table for metric in metrics if isinstance(metric, CocoTableMetric)), None)

    def continue_from(self, checkpoint: str) -> None:
        """Make `train` continue from a checkpoint of the run. The config that is saved stays that of the whole run."""
        self._load_from, self._resume = checkpoint, True

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Freeze the parts that the config names in `frozen`, then wrap the model for distributed training."""
        for name in self.cfg.get('frozen', ()):
            freeze(model.get_submodule(name))
        return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        """Initialise the weights, without published ones if a checkpoint will replace them."""
        if self._resume:
            for module in self.model.modules():
                if getattr(module, 'init_cfg', None):
                    module.init_cfg = without_pretrained(module.init_cfg)
        super()._init_model_weights()

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        """Do nothing: the plan has scaled the learning rate."""

    def train(self) -> nn.Module:
        """Train the model.

        Raises:
            UserError: a part of the config cannot be built, before the first step.
        """
        try:
            with self._logging():
                return super().train()
        except Exception as error:  # a config is a program and can raise anything
            if self.is_set_up or has_own_message(error):
                raise
            raise UserError(f'the run cannot be set up ({reason(error)}): check the config') from error

    def test(self) -> dict[str, float]:
        """Evaluate a checkpoint. It must fit the model and have a class of the data."""
        self.must_fit = self.is_test = True
        with self._logging():
            return super().test()

    def load_or_resume(self) -> None:
        """Load the checkpoint of the config, and check that all processes are at the same iteration then.

        They are not if each node has its own work directory and only one has the checkpoint. The run would then add up
        gradients of different weights.

        Raises:
            UserError: the processes are at different iterations.
        """
        super().load_or_resume()
        if self.is_test:  # it has no iteration, and maybe no training data
            self.model = optimize(unwrapped(self.model)) if self.optimized else self.model
            return
        self.is_set_up = True
        positions = [f'epoch {epoch}, iteration {step}' for epoch, step in all_gather_object((self.epoch, self.iter))]
        if len(set(positions)) > 1:
            text = '; '.join(f'{position}: ' + shorten([str(rank) for rank, other in enumerate(positions)
                                                        if other == position]) for position in dict.fromkeys(positions))
            raise UserError(f'the processes continue from different checkpoints ({text}). Only process 0 writes '
                            'checkpoints: use one work directory for all nodes, or copy last_checkpoint and the file '
                            'that it names to each')

    def resume(self, filename: str, resume_optimizer: bool = True, resume_param_scheduler: bool = True,
               map_location: str | Callable = 'default') -> None:
        """Continue a run from a checkpoint.

        Raises:
            UserError: the checkpoint does not fit the model, or the run cannot continue from it.
        """
        self.must_fit = True
        begun = scheduled_values(self)
        try:
            super().resume(filename, resume_optimizer, False, map_location)
            self._resume_within(self._loaded or {})
            if resume_param_scheduler:
                follow_schedule(self, begun, (self._loaded or {}).get('param_schedulers', []))
        except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
                ValueError) as error:
            raise UserError(f'this run cannot continue from {filename} ({reason(error)}). To start from its weights, '
                            'use --load-from') from error
        self._loaded = None

    def _resume_within(self, checkpoint: dict) -> None:
        """Restore what mmengine does not: the position within an epoch, and unfinished accumulated gradients.

        Raises:
            ValueError: optimizer or epoch length do not fit this run.
        """
        for name, parameter in unwrapped(self.model).named_parameters():
            gradient = checkpoint.get('gradients', {}).get(name)
            parameter.grad = gradient if gradient is None else gradient.to(parameter)
        optimizer = self.optim_wrapper.optimizer
        for parameter, state in optimizer.state.items():
            shapes = {tuple(value.shape) for value in state.values() if isinstance(value, torch.Tensor) and value.dim()}
            if shapes - {tuple(parameter.shape)}:
                raise ValueError(f'its optimizer has a state of shape {shapes} for a parameter of '
                                 f'{tuple(parameter.shape)}')
        meta, loop = checkpoint['meta'], self.train_loop
        if not meta.get('batches'):
            return
        if not isinstance(loop, ResumableTrainLoop) or meta['batches_per_epoch'] != len(loop.dataloader):
            raise ValueError(f'it was saved within an epoch of {meta["batches_per_epoch"]} batches, but with this '
                             f'config and data an epoch has {len(loop.dataloader)}')
        loop.resume_within(meta['batches'], meta['random'])

    def load_checkpoint(self, filename: str, map_location: str | Callable = 'cpu', strict: bool = False,
                        revise_keys: Sequence[tuple[str, str]] = ((r'^module\.', ''),)) -> dict:
        """Load the tensors that fit, and log the others.

        Raises:
            UserError: the file cannot be read, or nothing fits. In a test, in a resumed run and with `strict` also: a
                tensor of the model is missing. In a resumed run also: it was trained on other classes.
        """
        checkpoint = read_checkpoint(filename, map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        state = checkpoint.get('state_dict', checkpoint)
        if not isinstance(state, dict):
            raise UserError(f'{filename} is not a checkpoint: its state_dict is a {type(state).__name__}')
        for pattern, replacement in revise_keys:
            state = {re.sub(pattern, replacement, str(key)): value for key, value in state.items()}
        if not (strict or self.must_fit):
            state = self._rows_by_name(checkpoint, state)
        LOGGER.info(load_fitting(unwrapped(self.model), state, filename, strict or self.must_fit))
        self._has_loaded = True
        self._loaded = checkpoint
        if self.must_fit:
            self._compare_classes(checkpoint, filename)
            self._refuse_other_orientation(checkpoint, filename)
        return checkpoint

    def _rows_by_name(self, checkpoint: dict, state: dict) -> dict:
        """Return the tensors of a start, with the rows of each class for the class of the same name."""
        wanted = self.train_loop.dataloader.dataset.metainfo.get('classes')
        if wanted is None:
            return state
        rows, note = by_name(unwrapped(self.model), state, learned_classes(checkpoint.get('meta') or {}), wanted)
        if rows and note:
            LOGGER.info(note)
        return {**state, **rows}

    def _refuse_other_orientation(self, checkpoint: dict, filename: str) -> None:
        """Check that a checkpoint was trained on images that were turned as the config turns them.

        Raises:
            UserError: they were not.
        """
        upright = reads_upright(self.cfg, 'test' if self.is_test else 'train')
        if upright and ignored_orientation(checkpoint.get('meta') or {}):
            raise UserError(f'{filename} was trained on pixels as they lie in the file: add --ignore-orientation')

    def _compare_classes(self, checkpoint: dict, filename: str) -> None:
        """Compare the classes of a checkpoint, if known, with those of the data. A test takes them by their names.

        Raises:
            UserError: the classes or their order differ; in a test: no class has the same name.
        """
        learned = learned_classes(checkpoint.get('meta') or {})
        loop = self.test_loop if self.is_test else self.train_loop
        asked = loop.dataloader.dataset.metainfo.get('classes')
        if learned is None or asked is None or learned == list(asked):
            return
        if not self.is_test:
            check_classes(learned, asked, filename)
        labels = torch.tensor(labels_in_data(learned, asked, filename))
        unwrapped(self.model).register_forward_hook(partial(_relabel, labels))


def _relabel(labels: torch.Tensor, model: nn.Module, inputs: Any, samples: list) -> None:
    """Give the detections of a batch other labels, after the detector has chosen them; drop those of label -1."""
    for sample in samples:
        found = sample.pred_instances
        found.labels = labels.to(found.labels.device)[found.labels]
        sample.pred_instances = found[found.labels >= 0]
