"""Estimates how long training takes on this machine, from a few measured steps."""
import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ghostdet.errors import UserError

STEPS = 8  # of a test run; the last half is timed
BATCHES = 8  # evaluated in a test run
PROBE = ('train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'default_hooks.logger.interval=1',
         'default_hooks.checkpoint=None',
         f'log_processor.window_size={STEPS // 2}')  # mmengine's log gives the mean time of this many steps


@dataclass(frozen=True)
class Pace:
    """Seconds that the parts of a training run take on this machine."""

    start: float  # once per run: imports, checks, building, and the end
    step: float  # a training iteration of all processes
    evaluation: float  # an evaluation iteration

    def seconds(self, steps: int, evaluated: int) -> float:
        """Return the time of a run with this many training and evaluation iterations."""
        return self.start + steps * self.step + evaluated * self.evaluation


def measure_pace(train: Callable[[Path, list[str]], int], folder: Path, trained: int, evaluated: int,
                 batch: int) -> Pace:
    """Measure the pace of a short test run, and delete the run.

    Args:
        train: runs the training tool in a folder with some settings; returns its exit code.
        folder: folder of the test run; deleted before and after it.
        trained: number of images to train on.
        evaluated: number of images to evaluate.
        batch: images per evaluation iteration, in all processes together.

    Raises:
        UserError: the test run failed; its own message was printed before.
    """
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    code = train(folder,
                 [*PROBE, f'train_dataloader.dataset.indices={trained}', f'val_dataloader.dataset.indices={evaluated}'])
    took = time.monotonic() - started
    if code:
        raise UserError(f'these first steps failed with exit code {code}; the error is printed above. The training '
                        'would fail too. Fix the error (out of memory: lower --images-per-gpu), or select other '
                        'detectors with --only. Earlier measurements and runs are kept')
    (log,) = folder.glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in log.read_text().splitlines()]
    training = [record['time'] for record in records if 'loss' in record]
    evaluating = [record['time'] for record in records if 'loss' not in record]
    shutil.rmtree(folder)
    start = took - len(training) * training[-1] - math.ceil(evaluated / batch) * evaluating[-1]
    return Pace(max(0.0, start), training[-1], evaluating[-1])


def duration(seconds: float) -> str:
    """Return a time as text for people.

    >>> duration(59), duration(3600 * 30)
    ('1 min', '30 h')
    """
    if seconds >= 2 * 3600:
        return f'{seconds / 3600:.{0 if seconds >= 10 * 3600 else 1}f} h'
    return f'{math.ceil(seconds / 60)} min'
