"""How much a trained start helps, and how many pictures to label: BCCD and raccoon, from COCO and from scratch.

python -m benchmarks.finetune --bccd data/BCCD --raccoon data/raccoon

Each run is `ghostdet train` with its defaults, on one core. A run that was stopped continues; one that is done is kept.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from queue import Queue
from typing import Any

from matplotlib.figure import Figure

from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.evaluation.plots import read_scalars
from ghostdet.files import write_whole
from ghostdet.tables import markdown_table
from ghostdet.training.provenance import machine

RESULT = 'result.json'
BATCH = 4  # images a step in the default config
WHOLE = dict(bccd=292, raccoon=160)  # training images
FEW = (10, 30, 100)


@dataclass(frozen=True)
class Run:
    """One training: its data, how many of the training images it takes (0: all), its start and its seed."""

    data: str
    images: int
    start: str  # 'COCO' or 'scratch'
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f'{self.data}_{self.images or "all"}_{self.start}_{self.seed}'


RUNS = (*(Run(data, 0, 'COCO', seed) for data in ('bccd', 'raccoon') for seed in range(3)),
        *(Run('bccd', images, 'COCO', 0) for images in FEW),
        *(Run(*one, 'scratch', 0) for one in (('bccd', 30), ('bccd', 0), ('raccoon', 0))))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('--bccd', type=Path, required=True, metavar='DIR', help='BCCD: Annotations/, ImageSets/, ...')
    parser.add_argument('--raccoon', type=Path, required=True, metavar='DIR', help='raccoon: annotations/, images/')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/finetune'),
                        help='folder for the runs, finetune.json and finetune.png; default %(default)s')
    parser.add_argument('--only', nargs='+', default=[''], metavar='NAME', help='runs whose names begin so')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='settings for all runs')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train what is not done yet, one run on each core; write results, table and picture."""
    options = parse(arguments)
    chosen = [run for run in RUNS if run.name.startswith(tuple(options.only))]
    cores: Queue[int] = Queue()
    for core in os.sched_getaffinity(0):
        cores.put(core)
    with ThreadPoolExecutor(cores.qsize()) as pool:
        results = list(pool.map(lambda run: result_of(run, options, cores), chosen))
    content = dict(machine=machine(0), runs=results)
    write_whole(options.out / 'finetune.json', json.dumps(content, indent=1).encode())
    draw(results, options.out / 'finetune.png')
    print(f'{table(results)}\n{options.out}/finetune.json, finetune.png')


def result_of(run: Run, options: argparse.Namespace, cores: 'Queue[int]') -> dict[str, Any]:
    """Return the result of a run: from its folder, or from training it on a core that is free."""
    folder = options.out / run.name
    file = folder / RESULT
    if file.is_file():
        return json.loads(file.read_text())
    core = cores.get()
    try:
        start = time.monotonic()
        command = [sys.executable, '-m', 'ghostdet', 'train', *data_flags(run, options), '--work-dir', str(folder),
                   '--resume', *(['--from-scratch'] if run.start == 'scratch' else []),
                   '--cfg-options', f'randomness.seed={run.seed}', *options.cfg_options]
        print('$', ' '.join(command), flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / 'output.txt').open('a') as output:
            failed = subprocess.run(command, stdout=output, stderr=output, env={**os.environ, 'OMP_NUM_THREADS': '1'},
                                    preexec_fn=lambda: os.sched_setaffinity(0, {core})).returncode
        if failed:
            raise UserError(f'{run.name} failed; see {folder}/output.txt')
        minutes = (time.monotonic() - start) / 60
    finally:
        cores.put(core)
    metrics = json.loads((folder / 'coco.json').read_text())['metrics']
    validation, steps = read_scalars(folder)[1], ceil((run.images or WHOLE[run.data]) / BATCH)
    curve = [[one['step'] * steps, one['coco/bbox_mAP']] for one in validation]
    result = dict(vars(run), steps=curve[-1][0], minutes=round(minutes, 1), AP=metrics['AP'], AP50=metrics['AP50'],
                  AP_small=metrics['AP_small'], curve=curve)
    print(f'{run.name}: AP {metrics["AP"]:.3f} in {minutes:.1f} minutes', flush=True)
    write_whole(file, json.dumps(result).encode())
    return result


def data_flags(run: Run, options: argparse.Namespace) -> list[str]:
    """Return the options that name a run's data. For a part of BCCD, write a list of its images beside links to it."""
    if run.data == 'raccoon':
        return ['--data-root', str(options.raccoon), '--val-fraction', '0.2']
    if not run.images:
        return ['--data-root', str(options.bccd), '--train-split', 'trainval', '--val-split', 'test']
    folder = options.out / 'data' / f'bccd_{run.images}'
    lists = folder / 'ImageSets' / 'Main'
    lists.mkdir(parents=True, exist_ok=True)
    for name in ('Annotations', 'JPEGImages'):
        if not (folder / name).exists():
            (folder / name).symlink_to((options.bccd / name).absolute())
    source = options.bccd / 'ImageSets' / 'Main'
    names = (source / 'trainval.txt').read_text().split()
    random.Random(0).shuffle(names)
    (lists / 'train.txt').write_text('\n'.join(names[:run.images]) + '\n')
    (lists / 'test.txt').write_text((source / 'test.txt').read_text())
    return ['--data-root', str(folder), '--train-split', 'train', '--val-split', 'test']


# ---------------------------------------------------------------------------------------------------------- the report

def grouped(results: list[dict]) -> Iterator[list[dict]]:
    """Yield the results of runs that differ in the seed alone."""
    keys = [(one['data'], one['images'], one['start']) for one in results]
    for key in dict.fromkeys(keys):
        yield [one for one, other in zip(results, keys) if other == key]


def table(results: list[dict]) -> str:
    """Return a Markdown table, one row for each set, number of images and start."""
    rows = []
    for same in grouped(results):
        values = [one['AP'] for one in same]
        spread = f' ({min(values):.3f} to {max(values):.3f})' if len(same) > 1 else ''
        mean = {key: sum(one[key] for one in same) / len(same) for key in ('AP', 'AP50')}
        minutes = [one['minutes'] for one in same if one['minutes']]  # null: another job ran on the same core
        mean_minutes = f'{sum(minutes) / len(minutes):.1f}' if minutes else '-'
        rows.append([same[0]['data'], str(same[0]['images'] or 'all'), same[0]['start'], str(same[0]['steps']),
                     str(len(same)), f'{mean["AP"]:.3f}{spread}', f'{mean["AP50"]:.3f}', mean_minutes])
    return markdown_table([['data', 'images', 'start', 'steps', 'seeds', 'AP', 'AP50', 'minutes'], *rows])


def draw(results: list[dict], out: Path) -> None:
    """Draw AP by step, by minute, and by the number of training images of BCCD, as a PNG."""
    figure = Figure(figsize=(13, 4), layout='constrained')
    by_step, by_minute, by_images = figure.subplots(1, 3, sharey=True)
    for one in results:
        if one['images'] or one['seed']:
            continue
        steps, values = zip(*one['curve'])
        style: dict[str, Any] = dict(
            color='tab:blue' if one['data'] == 'bccd' else 'tab:orange', marker='o',
            linestyle='-' if one['start'] == 'COCO' else ':', label=f'{one["data"]}, from {one["start"]}')
        by_step.plot(steps, values, **style)
        if one['minutes']:
            by_minute.plot([step / one['steps'] * one['minutes'] for step in steps], values, **style)
    for start, line in (('COCO', '-'), ('scratch', ':')):
        points = sorted((one['images'] or WHOLE['bccd'], one['AP']) for one in results
                        if one['data'] == 'bccd' and one['start'] == start and not one['seed'])
        if points:
            by_images.plot(*zip(*points), color='tab:blue', marker='o', linestyle=line, label=f'bccd, from {start}')
    by_images.set_xscale('log')
    for axis, text in ((by_step, f'steps of {BATCH} images'), (by_minute, 'minutes on one core'),
                       (by_images, 'training images')):
        axis.set_xlabel(text)
        axis.grid(alpha=.3)
        axis.legend(fontsize=8)
    by_step.set_ylabel('AP')
    by_step.set_ylim(bottom=0)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)


if __name__ == '__main__':
    sys.exit(door.run(main))
