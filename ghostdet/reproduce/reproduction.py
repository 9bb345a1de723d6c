"""Reproduces the paper's table 9: trains each detector that is not finished yet, and updates the table after each."""
import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from mmengine.config import Config, DictAction

from ghostdet.data.coco import find_splits, read_annotations
from ghostdet.errors import UserError, reason
from ghostdet.evaluation.expected import expected_of
from ghostdet.evaluation.plots import read_scalars
from ghostdet.files import file_lock, make_folder, write_whole
from ghostdet.messages import LOGGER
from ghostdet.packaged_configs import find_config
from ghostdet.reproduce.chart import draw_table9
from ghostdet.reproduce.forecast import BATCHES, STEPS, Pace, duration, measure_pace
from ghostdet.reproduce.jobs import run_job
from ghostdet.reproduce.table9 import CELLS, Cell, Result, Table9, family_cells
from ghostdet.training.config_file import read_config
from ghostdet.training.counting import measure_config
from ghostdet.training.datasets import configured_splits
from ghostdet.training.provenance import machine, revision, versions

STEP = 16  # images per optimizer step, in every cell
VAL_IMAGES = 5000  # in COCO's val2017, on which the paper measures AP
# settings that have options of their own
DECIDED = ('train_dataloader.batch_size', 'optim_wrapper.accumulative_counts', 'randomness.seed')
REHEARSAL = ('train_cfg.max_epochs=4', 'train_cfg.val_interval=2')  # all six within half an hour on two cores
NOTE = ('AP is COCO\'s, in points of 100, after the last epoch{data}. FLOPs are multiply-accumulates at 224x224 of the '
        'backbone as a classifier. Training hours are those of the steps, without evaluation; images/s is the median '
        'over the steps.')
DATA = {False: ', on COCO\'s val2017',
        True: ', in a rehearsal on small other data: do not compare it with COCO or the paper'}


@dataclass(frozen=True)
class Settings:
    """Settings that all cells of a table share, so that the cells can be compared."""

    mini: bool
    data_root: str | None
    gpus: int  # 0: the CPU
    images_per_gpu: int
    accumulated: int  # iterations per optimizer step, so that it has STEP images
    seed: int
    cfg_options: list[str]

    @classmethod
    def chosen(cls, mini: bool, data_root: Path | None, gpus: int | None, images_per_gpu: int | None, seed: int,
               cfg_options: list[str]) -> 'Settings':
        """Make the settings from the options of the command line; choose those that were not given.

        Raises:
            UserError: a step of STEP images cannot be split this way, there are fewer GPUs, COCO's folder is not given,
                or an option is invalid.
        """
        if not mini and data_root is None:
            raise UserError('name the folder of COCO with --data-root (ghostdet prepare-coco DIR prepares it), or '
                            'rehearse on the built-in data with --mini')
        there = torch.cuda.device_count()
        gpus = max(n for n in (0, 1, 2, 4, 8, STEP) if n <= there) if gpus is None else gpus
        if not 0 <= gpus <= there:
            raise UserError(f'--gpus {gpus}: expected 0 to {there}, the number of GPUs that torch finds')
        processes = max(gpus, 1)
        images = max(1, STEP // processes) if images_per_gpu is None else images_per_gpu
        if images < 1 or STEP % (processes * images):
            raise UserError(f'--gpus {gpus} --images-per-gpu {images}: a step has {STEP} images, and {processes} x '
                            f'{images} does not divide {STEP}')
        if not 0 <= seed < 2**32:
            raise UserError(f'--seed {seed}: expected a seed from 0 to 2^32 - 1')
        odd = [pair for pair in cfg_options if '=' not in pair]
        if odd:
            raise UserError(f'--cfg-options: expected KEY=VALUE, got {" ".join(odd)}')
        decided = [pair for pair in cfg_options if pair.split('=')[0] in DECIDED]
        if decided:
            raise UserError(f'--cfg-options {" ".join(decided)}: use --gpus, --images-per-gpu and --seed for this')
        root = None if data_root is None else str(data_root.resolve())
        return cls(mini, root, gpus, images, STEP // (processes * images), seed, cfg_options)

    @property
    def processes(self) -> int:
        """Number of processes of one training run."""
        return max(self.gpus, 1)

    def options(self) -> list[str]:
        """Return the config settings of a training run; those of the user come last and win."""
        split = [f'train_dataloader.batch_size={self.images_per_gpu}', f'randomness.seed={self.seed}']
        split += [f'optim_wrapper.accumulative_counts={self.accumulated}'] if self.accumulated > 1 else []
        return [*(REHEARSAL if self.mini else ()), *split, *self.cfg_options]


class Reproduction:
    """Trains the cells in folders below `work_dir`, and writes their table.

    Args:
        family: add GhostNet's successors to the paper's six cells.
        trainer: arguments of Python that start the training command.
    """

    def __init__(self, work_dir: Path, settings: Settings, trainer: Sequence[str] = ('-m', 'ghostdet', 'train'),
                 family: bool = False) -> None:
        self.work_dir, self.settings, self.trainer = work_dir, settings, trainer
        cells = CELLS + (family_cells(settings.mini) if family else ())
        self.files = {cell: find_config(f'{cell}_{"mini" if settings.mini else "coco"}') for cell in cells}
        self.memory = work_dir / 'reproduction.json'
        self.notes: dict[str, Any] = dict(settings=asdict(settings), paces={})  # content of `memory`, for later starts
        self.lock = -1

    def run(self, words: list[str] | None = None, only_forecast: bool = False) -> Table9:
        """Train the unfinished cells, or those with one of `words` in their names. A failed cell stops no others.

        Raises:
            UserError: no cell matches a word, the folder was started with other settings, or training runs failed;
                those have printed why.
            Interrupted: the user stopped the run.
        """
        words = list(self.files) if words is None else words
        chosen = [cell for cell in self.files if any(word in cell for word in words)]
        unknown = [word or "''" for word in words if not word or not any(word in cell for cell in self.files)]
        if unknown:
            raise UserError(f'--only: no detector has {" or ".join(unknown)} in its name; the names are '
                            f'{", ".join(self.files)}')
        make_folder(self.work_dir, '--work-dir')
        waiting = (f'{self.work_dir}: another run, or a job of a killed run, still uses this folder; '
                   'waiting for it to end')
        with file_lock(self.work_dir / 'lock', waiting) as self.lock:
            self._recall()
            self.write_table()  # shows finished cells, and finds errors in all configs before hours of training
            left = [cell for cell in chosen if self.result(cell) is None]
            LOGGER.info(f'{len(chosen) - len(left)} of {len(chosen)} are finished'
                        + (f'; left: {", ".join(left)}' if left else ''))
            times = self._forecast(left)
            failed = [] if only_forecast else [cell for cell in left if not self._finish(cell, times)]
            table = self.write_table()
        if failed:
            raise UserError(f'{len(failed)} of {len(left)} training runs failed: {", ".join(failed)}. The errors are '
                            f'printed above and in the logs below {self.work_dir}/. Fix them and run the same command '
                            'again to continue')
        return table

    def result(self, cell: str) -> Result | None:
        """Return the result of a cell; None if it is not finished."""
        file = self.work_dir / cell / 'result.json'
        return _read(file, Result.from_json) if file.is_file() else None

    def write_table(self) -> Table9:
        """Write table9.md, .json and .png from the finished cells."""
        cells = tuple(replace(cell, result=self.result(cell.name)) for cell in self._cells)
        table = Table9(cells, NOTE.format(data=DATA[self.settings.mini]))
        write_whole(self.work_dir / 'table9.md', table.to_markdown().encode())
        write_whole(self.work_dir / 'table9.json', table.to_json().encode())
        draw_table9(table, self.work_dir / 'table9.png')
        return table

    @cached_property
    def _cells(self) -> list[Cell]:
        """The cells with their cost and the paper's AP, without results."""
        cells = []
        for name, file in self.files.items():
            cfg = self._configs[name]
            cost, expected = measure_config(cfg, str(file)), expected_of(cfg).ap if cfg.get('expected') else None
            paper = None if self.settings.mini else expected  # the AP expected in a rehearsal is not from the paper
            cells.append(Cell(name, cost.figures()['imagenet_macs'], cost.total.parameters, paper, None))
        return cells

    @cached_property
    def _configs(self) -> dict[str, Config]:
        pairs = argparse.ArgumentParser()
        pairs.add_argument('--options', nargs='+', action=DictAction)
        options = pairs.parse_args(['--options', *self.settings.options()]).options
        return {name: read_config(str(file), options) for name, file in self.files.items()}

    def _recall(self) -> None:
        """Load the measurements of an earlier start.

        Raises:
            UserError: there are cells that were trained with other settings.
        """
        if not self.memory.is_file():
            return
        before, now = _read(self.memory, _notes), self.notes['settings']
        other = [f'{key} was {before["settings"].get(key)} and is {value}' for key, value in now.items()
                 if before['settings'].get(key) != value]
        if not other:
            self.notes = before
        elif any((self.work_dir / cell).exists() for cell in self.files):
            raise UserError(f'{self.work_dir} was started with other settings: {"; ".join(other)}. All cells of a '
                            'table need the same settings: use the earlier ones, or name another --work-dir')

    # --------------------------------------------------------------------------------------------------------- how long

    def _forecast(self, left: list[str]) -> dict[str, float]:
        """Return the seconds that each cell of `left` will take, and log them. Measures what is not yet measured."""
        times = {}
        for index, cell in enumerate(left, 1):
            cfg = self._configs[cell]
            images, evaluated = self._images(cfg)
            step, batch = (self.settings.processes * cfg[loader].batch_size
                           for loader in ('train_dataloader', 'val_dataloader'))
            if cell not in self.notes['paces']:
                LOGGER.info(f'\nmeasuring the speed of this machine, {index} of {len(left)}: {cell}')
                pace = measure_pace(partial(self._train, cell), self.work_dir / 'probe', min(images, STEPS * step),
                                    min(evaluated, BATCHES * batch), batch)
                self.notes['paces'][cell] = asdict(pace)
                write_whole(self.memory, json.dumps(self.notes, indent=1).encode())
            last, interval = cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval
            epochs = range(self._epochs_done(cell) + 1, last + 1)
            evaluations = sum(epoch % interval == 0 or epoch == last for epoch in epochs)
            times[cell] = Pace(**self.notes['paces'][cell]).seconds(
                len(epochs) * math.ceil(images / step), evaluations * math.ceil(evaluated / batch))
        where = f'{self.settings.gpus} GPUs' if self.settings.gpus else 'the CPU'
        for cell, seconds in times.items():
            LOGGER.info(f'{cell:32} about {duration(seconds)} on {where}')
        return times

    def _images(self, cfg: Config) -> tuple[int, int]:
        """Return the number of training images that have boxes, and the number of evaluated images.

        Raises:
            UserError: the evaluated images are not as many as in COCO's val2017, and this is no rehearsal.
        """
        if 'images' not in self.notes:
            root = self.settings.data_root
            splits = find_splits(Path(root)) if root else configured_splits(cfg, ('train', 'val'))
            train, val = (read_annotations(splits[name if name in splits else 'train']) for name in ('train', 'val'))
            boxes = [box for box in train['annotations'] if isinstance(box, dict)]  # the training run reports bad ones
            self.notes['images'] = [len({box.get('image_id') for box in boxes}), len(val['images'])]
            if not self.settings.mini and self.notes['images'][1] != VAL_IMAGES:
                raise UserError(f'{root} has {self.notes["images"][1]:,} images to evaluate on, but COCO\'s val2017 '
                                f'has {VAL_IMAGES:,}: this table compares with the paper, so it needs COCO. For other '
                                'data use ghostdet train, or add --mini, which does not compare with the paper')
        return self.notes['images'][0], self.notes['images'][1]

    def _epochs_done(self, cell: str) -> int:
        found = [re.fullmatch(r'epoch_(\d+)\.pth', file.name) for file in (self.work_dir / cell).glob('epoch_*.pth')]
        return max((int(match[1]) for match in found if match), default=0)

    # --------------------------------------------------------------------------------------------------------- training

    def _finish(self, cell: str, times: dict[str, float]) -> bool:
        """Train `cell` to the end, and write its result and the table; return False if it failed."""
        rest = list(times)[list(times).index(cell):]
        seconds = sum(times[name] for name in rest)
        end = datetime.now() + timedelta(seconds=seconds)
        LOGGER.info(f'\n{cell}: {len(rest)} left, about {duration(seconds)}, until {end:%Y-%m-%d %H:%M}')
        folder = self.work_dir / cell
        if self._train(cell, folder, []):
            return False
        write_whole(folder / 'result.json', json.dumps(asdict(self._collect(folder)), indent=1).encode())
        self.write_table()
        return True

    def _train(self, cell: str, folder: Path, options: list[str]) -> int:
        """Run the training tool in a child process, or in one for each GPU; return the exit code."""
        chosen = self.settings
        launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node',
                  str(chosen.gpus)] if chosen.gpus > 1 else []
        command = [sys.executable, *launch, *self.trainer, str(self.files[cell]), '--work-dir', str(folder), '--resume']
        command += ['--data-root', chosen.data_root] if chosen.data_root else []
        command += ['--launcher', 'pytorch'] if chosen.gpus > 1 else []
        command += ['--amp'] if chosen.gpus else []
        command += ['--cfg-options', *chosen.options(), *self._warm_up(cell), *options]
        return run_job(command, self.lock, dict() if chosen.gpus else dict(CUDA_VISIBLE_DEVICES=''))

    def _warm_up(self, cell: str) -> list[str]:
        """Return settings that keep the warm-up's length in optimizer steps: mmengine's schedule counts iterations."""
        schedule, count = self._configs[cell].param_scheduler[0], self.settings.accumulated
        return [f'param_scheduler.0.end={schedule.end * count}'] if count > 1 else []

    def _collect(self, folder: Path) -> Result:
        """Read the result of a finished training run from its folder."""
        training, validation = read_scalars(folder)
        steps, images = [record['time'] for record in training], self.settings.processes * self.settings.images_per_gpu
        return Result(
            metrics=json.loads((folder / 'coco.json').read_text())['metrics'],
            ap_by_epoch=[(record['step'], record['coco/bbox_mAP']) for record in validation],
            hours=mean(steps) * training[-1]['step'] / 3600 if steps else None,
            images_per_second=images / median(steps) if steps else None,
            made=self._made())

    def _made(self) -> dict[str, str | int | bool]:
        chosen = self.settings
        return dict(
            finished=f'{datetime.now():%Y-%m-%d %H:%M}', machine=machine(chosen.gpus), gpus=chosen.gpus,
            data=chosen.data_root or 'built in',
            split=f'{chosen.processes} x {chosen.images_per_gpu} x {chosen.accumulated}', amp=bool(chosen.gpus),
            seed=chosen.seed, options=' '.join(chosen.cfg_options) or '-', revision=revision(), **versions())


def _notes(text: str) -> dict[str, Any]:
    content = json.loads(text)
    return dict(content, settings=dict(content['settings']), paces=dict(content['paces']))


def _read(file: Path, parse: Callable[[str], Any]) -> Any:
    """Read a file that an earlier start wrote, with `parse`.

    Raises:
        UserError: `parse` fails.
    """
    try:
        return parse(file.read_text())
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f'{file} is damaged ({reason(error)}): delete it, and the next start makes it again') from error
