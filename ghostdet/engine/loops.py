"""A training loop whose run comes out the same, broken off in between or not."""
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

from ghostdet.engine.checkpoints import WholeCheckpointHook
from ghostdet.engine.randomness import restore_random_state, seed_everything
from ghostdet.errors import Interrupted

REPEATED = 1.0  # seconds after which a second signal is a second wish
ASK_EVERY = 10  # iterations after which the processes of a distributed run tell each other whether to stop


class StopRequest:
    """Ctrl-C or SIGTERM, noted until the step in hand is done; asked for a second time, it stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self.since = 0.0
        self.waits = True  # whether there is a step to finish

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over; where the caller is no main thread it may not, and they stay as they are."""
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
        """The signals' handler."""
        # A launcher passes on to its processes what the terminal has told them already.
        again = self.asked and time.monotonic() - self.since > REPEATED
        self.since, self.asked = time.monotonic(), True
        if again or not self.waits:
            raise KeyboardInterrupt

    def by_any_process(self, iteration: int) -> bool:
        """Whether this process or another of the run was asked, told to all at the same iteration."""
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
    """Epochs that depend on the seed and their number alone, an interrupted one goes on where it was.

    mmengine draws random numbers on from where the process stands, which a resumed one does not know; and it never evaluates
    an epoch that was saved but not yet evaluated when the run was killed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stop = StopRequest()
        self.batches_done = 0  # of the epoch that a resumed run goes on with
        self.random_state: dict | None = None
        self.saved_aside: int | None = None  # the epoch at whose end interrupted.pth is

    def run(self) -> nn.Module:
        """Train, and evaluate when it is due."""
        with self.stop.listening():
            self.runner.call_hook('before_train')
            if self._epoch and not self.batches_done and self.runner.message_hub.get_info('evaluated_epoch', 0) != self._epoch:
                self._evaluate_if_due()
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._evaluate_if_due()
                if self.stop.by_any_process(0):
                    self._leave(0)
            self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """One epoch, or what is left of it."""
        seed_everything(self.runner.seed + self._epoch)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done, total = self.batches_done, len(self.dataloader)
        batches = iter(self.dataloader)
        for _ in range(done):  # loaded again, though not trained on: random numbers of what follows depend on them
            next(batches)
        if self.random_state:
            restore_random_state(self.random_state)
        for hook in self.runner.hooks:
            if isinstance(hook, IterTimerHook):
                hook.before_train_epoch(self.runner)  # what was loaded again is no part of the next step's time
        self.batches_done, self.random_state = 0, None
        for index, batch in enumerate(batches, done):
            self.run_iter(index, batch)
            if self.stop.by_any_process(index + 1) and index + 1 < total:
                self._leave(index + 1)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def resume_within(self, batches_done: int, random_state: dict | None) -> None:
        """Go on after `batches_done` of the epoch that is next."""
        self.batches_done, self.random_state = batches_done, random_state

    def _evaluate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch >= self.val_begin and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)
        if self.runner.val_loop is None or not due:
            return
        if self.stop.by_any_process(0):
            self._leave(0)
        hook = self._checkpoint_hook()
        if hook is not None and hook.saved_epoch != self._epoch:
            # Before the evaluation: during it hooks may have put averaged weights in the place of the trained ones.
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
        """Save what there is, and stop.

        Raises:
            Interrupted: always.
        """
        hook, saved = self._checkpoint_hook(), None
        if hook is not None:
            is_saved = not batches and self._epoch in (hook.saved_epoch, self.saved_aside)
            saved = hook.last_ckpt if is_saved else hook.save_interrupted(self.runner, batches, len(self.dataloader))
        barrier()  # the first process to end takes the others down, the one that writes among them
        place = f'{batches} of {len(self.dataloader)} batches of epoch {self._epoch + 1}' if batches else f'epoch {self._epoch}'
        raise Interrupted(f'stopped after {place}, as asked; ' + (
            f'everything up to there is in {saved}. Go on with --resume' if hook else 'nothing is saved, since the config has no '
            'default_hooks.checkpoint'))

    def _checkpoint_hook(self) -> WholeCheckpointHook | None:
        return next((hook for hook in self.runner.hooks if isinstance(hook, WholeCheckpointHook)), None)
