"""Time a training step of the default start with and without what makes it faster, side by side in one thread.

python -m benchmarks.training_step --data-root BCCD
"""
import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.timing import Quartiles, operators, race
from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.options import TrainOptions
from ghostdet.tables import markdown_table
from ghostdet.training.plan import plan_training
from ghostdet.training.provenance import machine
from ghostdet.training.runner import DetectionRunner
from ghostdet.weights.schemes import safe_loading

# What a step has: are denormal numbers flushed to zero; frozen stages of the backbone, -1: none.
VARIANTS = {'no change': (False, -1), 'denormal numbers flushed': (True, -1),
            'flushed, and stem and first stage frozen': (True, 1)}
BATCHES = 12  # that all variants train on, again and again
SHOWN = 8  # operators of a profile


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('--data-root', type=Path, required=True, metavar='DIR', help='folder of the data set')
    parser.add_argument('--rounds', type=int, default=20, metavar='N', help='steps of each; default %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Time the steps, and print images a second and the operators that take the time."""
    options = parse(arguments)
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        with redirect_stdout(sys.stderr):  # what mmengine prints of the weights
            steps = [stepper(options.data_root, Path(folder) / name, *how) for name, how in VARIANTS.items()]
        seconds = list(zip(*race([step for step, _ in steps], options.rounds, warm=False)))
        print(f'{table(seconds, steps[0][1])}\n\n{machine(0)}, one thread; median, quartiles of {options.rounds} steps')
        for name, (step, _) in zip(VARIANTS, steps):
            parts = islice(operators(step).items(), SHOWN)
            print(f'\n{name}: ' + ', '.join(f'{operator} {part:.0%}' for operator, part in parts))


def table(seconds: Sequence[Sequence[float]], batch: int) -> str:
    """Return a Markdown table of images a second, and of the times as parts of the first variant's, by pairs."""
    rows = []
    for name, own in zip(VARIANTS, seconds):
        speed = Quartiles.of([batch / value for value in own])
        ratio = median(first / value for first, value in zip(seconds[0], own))
        rows.append([name, f'{speed.median:.2f} ({speed.low:.2f} to {speed.high:.2f})', f'{ratio:.2f}'])
    return markdown_table([['step', 'images a second', 'times as fast, by pairs'], *rows])


def stepper(data: Path, folder: Path, flushed: bool, frozen: int) -> tuple[Callable[[], Any], int]:
    """Return a function that makes the next training step of a run, and the number of images in a step."""
    plan = plan_training(TrainOptions(data_root=data, work_dir=folder, cfg_options={
        'model.backbone.frozen_stages': frozen, 'train_dataloader.num_workers': 0}))
    runner = DetectionRunner.from_cfg(plan.cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    with safe_loading():
        runner.model.init_weights()
        runner.call_hook('before_run')  # the hook of averaged weights is set up here
        runner.load_checkpoint(plan.cfg.load_from)
    runner.model.to(memory_format=torch.channels_last).train()
    batches = cycle(list(islice(runner.train_dataloader, BATCHES)))

    def step() -> None:
        torch.set_flush_denormal(flushed)
        runner.model.train_step(next(batches), wrapper)
        torch.set_flush_denormal(False)
    return step, plan.cfg.train_dataloader.batch_size


if __name__ == '__main__':
    sys.exit(door.run(main))
