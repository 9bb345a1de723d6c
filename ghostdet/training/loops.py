"""A training loop that can be interrupted and resumed without changing the result."""
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, get_world_size
from mmengine.hooks import IterTimerHook
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from ghostdet.errors import Interrupted
from ghostdet.messages import LOGGER
from ghostdet.training.checkpoints import WholeCheckpointHook
from ghostdet.training.randomness import restore_random_state, seed_everything

REPEATED = 1.0  # seconds; a second signal within this time counts as the first one again
ASK_EVERY = 10  # iterations between two checks whether any process of a distributed run should stop


class StopRequest:
    """Notes Ctrl-C and SIGTERM, so that a run can finish its step. A second signal stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self.since = 0.0
        self.waits = True  # False: the first signal stops at once

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside the `with` block. Does nothing outside the main thread, where Python forbids it."""
        try:
            before = {kind: signal.signal(kind, self.note) for kind in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:
            before = {}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def note(self, kind: int, frame: FrameType | None) -> None:
        """Handle a signal.

        Raises:
            KeyboardInterrupt: it is the second one, or there is no step to finish.
        """
        # The terminal signals all processes, and a launcher then sends the same signal to its processes again.
        again = self.asked and time.monotonic() - self.since > REPEATED
        self.since, self.asked = time.monotonic(), True
        if again or not self.waits:
            raise KeyboardInterrupt

    def by_any_process(self, iteration: int) -> bool:
        """Return whether any process of the run was asked to stop; all get the answer at the same iteration."""
        if get_world_size() == 1:
            return self.asked
        if iteration % ASK_EVERY:
            return False
        flag = torch.tensor(int(self.asked))
        flag = flag.cuda() if torch.cuda.is_available() else flag
        all_reduce(flag, 'max')
        return bool(flag)


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """A training loop by epochs that a resumed run continues bit for bit, even in the middle of an epoch.

    Random numbers of an epoch depend only on the seed and the epoch. In mmengine they depend on what the process did
    before, which a resumed run does not know. mmengine also never evaluates an epoch that was saved but not evaluated
    before a kill.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stop = StopRequest()
        self.batches_done = 0  # of the epoch that a resumed run continues
        self.random_state: dict | None = None
        self.saved_aside: int | None = None  # epoch that interrupted.pth was saved after

    def run(self) -> nn.Module:
        """Train all remaining epochs, and evaluate when it is due."""
        with self.stop.listening():
            self.runner.call_hook('before_train')
            evaluated = self.runner.message_hub.get_info('evaluated_epoch', 0)
            if self._epoch and not self.batches_done and evaluated != self._epoch:
                self._evaluate_if_due()
            if self._epoch >= self._max_epochs:
                LOGGER.info(f'the run has had all of its {self._max_epochs} epochs. For more: --resume --cfg-options '
                            'train_cfg.max_epochs=N')
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._evaluate_if_due()
                if self.stop.by_any_process(0):
                    self._leave(0)
            self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train one epoch, or the rest of it."""
        seed_everything(self.runner.seed + self._epoch)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done, total = self.batches_done, len(self.dataloader)
        batches = iter(self.dataloader)
        for _ in range(done):  # load these again without training: the random numbers of later batches depend on it
            next(batches)
        if self.random_state:
            restore_random_state(self.random_state)
        for hook in self.runner.hooks:
            if isinstance(hook, IterTimerHook):
                hook.before_train_epoch(self.runner)  # the next step's time must not include this loading
        self.batches_done, self.random_state = 0, None
        for index, batch in enumerate(batches, done):
            self.run_iter(index, batch)
            if self.stop.by_any_process(index + 1) and index + 1 < total:
                self._leave(index + 1)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def resume_within(self, batches_done: int, random_state: dict | None) -> None:
        """Make the next epoch start after `batches_done` batches, with these random states."""
        self.batches_done, self.random_state = batches_done, random_state

    def _evaluate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch >= self.val_begin and (self._epoch % self.val_interval == 0
                                                 or self._epoch == self._max_epochs)
        if self.runner.val_loop is None or not due:
            return
        if self.stop.by_any_process(0):
            self._leave(0)
        hook = self._checkpoint_hook()
        if hook is not None and hook.saved_epoch != self._epoch:
            # Save before the evaluation: during it, hooks may replace the trained weights with averaged ones.
            hook.save_interrupted(self.runner, 0, len(self.dataloader))
            self.saved_aside = self._epoch
        try:
            self.stop.waits = False
            self.runner.val_loop.run()
        except KeyboardInterrupt:
            self._leave(0)
        finally:
            self.stop.waits = True

    def _leave(self, batches: int) -> None:
        """Stop the run. Save it first if there is a checkpoint hook and this state is not saved yet.

        Args:
            batches: batches done in the current epoch; 0 between two epochs.

        Raises:
            Interrupted: always.
        """
        hook, saved = self._checkpoint_hook(), None
        if hook is not None:
            is_saved = not batches and self._epoch in (hook.saved_epoch, self.saved_aside)
            saved = hook.last_ckpt if is_saved else hook.save_interrupted(self.runner, batches, len(self.dataloader))
        barrier()  # when one process ends, the others are killed, also the one that writes
        position = (f'{batches} of {len(self.dataloader)} batches of epoch {self._epoch + 1}' if batches
                 else f'epoch {self._epoch}')
        raise Interrupted(f'stopped after {position}, as requested; ' + (
            f'the run is saved in {saved}. Continue with --resume' if hook
            else 'nothing is saved, because the config has no default_hooks.checkpoint'))

    def _checkpoint_hook(self) -> WholeCheckpointHook | None:
        return next((hook for hook in self.runner.hooks if isinstance(hook, WholeCheckpointHook)), None)
