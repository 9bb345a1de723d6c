"""How long trainings will take on this machine, from a few steps of each."""
import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ghostdet.errors import UserError

STEPS = 8  # of a probe; the last half is timed
BATCHES = 8  # that it evaluates
PROBE = ('train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'default_hooks.logger.interval=1', 'default_hooks.checkpoint=None',
         f'log_processor.window_size={STEPS // 2}')  # of as many steps mmengine's log gives the mean


@dataclass(frozen=True)
class Pace:
    """Seconds that a training takes here."""

    start: float  # once: imports, checks, building, and what ends a run
    step: float  # an iteration, in which every process takes its images
    evaluation: float  # an iteration of the evaluation

    def seconds(self, steps: int, evaluated: int) -> float:
        """Of a run with so many iterations of either kind."""
        return self.start + steps * self.step + evaluated * self.evaluation


def measure_pace(train: Callable[[Path, list[str]], int], folder: Path, trained: int, evaluated: int, batch: int) -> Pace:
    """Train and evaluate for some iterations, and throw the run away.

    Args:
        train: runs the training tool in a folder with some settings, and gives back its exit code.
        trained: images to train on.
        evaluated: images to evaluate, `batch` of them at a time in all processes together.

    Raises:
        UserError: the run failed, whose own message stands above; the long one would fail as well.
    """
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    code = train(folder, [*PROBE, f'train_dataloader.dataset.indices={trained}', f'val_dataloader.dataset.indices={evaluated}'])
    took = time.monotonic() - started
    if code:
        raise UserError(f'these first steps ended with exit code {code}; what stopped them stands above, and would stop the '
                        'training too. Mend it (where memory was short: --images-per-gpu), or name the other detectors with '
                        '--only; what was measured and trained before is kept')
    (log,) = folder.glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in log.read_text().splitlines()]
    training = [record['time'] for record in records if 'loss' in record]
    evaluating = [record['time'] for record in records if 'loss' not in record]
    shutil.rmtree(folder)
    start = took - len(training) * training[-1] - math.ceil(evaluated / batch) * evaluating[-1]
    return Pace(max(0.0, start), training[-1], evaluating[-1])


def duration(seconds: float) -> str:
    """For people.

    >>> duration(59), duration(3600 * 30)
    ('1 min', '30 h')
    """
    return f'{seconds / 3600:.0f} h' if seconds >= 10 * 3600 else f'{seconds / 3600:.1f} h' if seconds >= 2 * 3600 else (
        f'{math.ceil(seconds / 60)} min')
