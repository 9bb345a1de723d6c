"""Reproduces the paper's table 9: trains each cell that is not finished yet, and writes the table after each."""
import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from mmengine.config import Config, DictAction

from ghostdet.data.coco import find_splits, read_annotations
from ghostdet.errors import Interrupted, UserError
from ghostdet.evaluation.expected import expected_of
from ghostdet.evaluation.plots import read_scalars
from ghostdet.files import file_lock, make_folder, write_whole
from ghostdet.messages import LOGGER
from ghostdet.packaged_configs import find_config
from ghostdet.training.config_file import read_config
from ghostdet.training.counting import measure_config
from ghostdet.training.provenance import machine, revision, versions
from ghostdet.training.table9 import CELLS, FAMILY, Cell, Table9

TRAINER = ('-m', 'ghostdet', 'train')  # arguments of Python
STEP = 16  # images per optimizer step, in every cell
VAL_IMAGES = 5000  # in COCO's val2017, on which the paper measures AP
# these have own options
DECIDED = ('train_dataloader.batch_size', 'optim_wrapper.accumulative_counts', 'randomness.seed')
REHEARSAL = ('train_cfg.max_epochs=4', 'train_cfg.val_interval=2')  # all six within half an hour on two cores
STOPPED = 130  # exit code of a command that was interrupted


class Reproduction:
    """Trains the cells in folders below `work_dir`, and writes their table.

    Args:
        mini: rehearse: train small twins of the detectors, on `data_root` or, if it is None, on built-in data.
        data_root: folder of COCO.
        gpus: number of GPUs; 0: the CPU; None: the largest number that splits a step of STEP images evenly.
        images_per_gpu: images of one GPU in one iteration; None: as many as a step needs.
        cfg_options: KEY=VALUE settings for all cells.
        family: add GhostNet's successors to the paper's six cells.

    Raises:
        UserError: a step cannot be split this way, there are fewer GPUs, COCO's folder is not given, or an option is
            invalid.
    """

    def __init__(self, work_dir: Path, mini: bool = False, data_root: Path | None = None, gpus: int | None = None,
                 images_per_gpu: int | None = None, seed: int = 0, cfg_options: Sequence[str] = (),
                 family: bool = False) -> None:
        there = torch.cuda.device_count()
        self.work_dir, self.mini, self.seed, self.cfg_options = work_dir, mini, seed, list(cfg_options)
        self.data_root = None if data_root is None else str(data_root.resolve())
        self.gpus = max(n for n in (0, 1, 2, 4, 8, STEP) if n <= there) if gpus is None else gpus
        self.processes = max(self.gpus, 1)
        self.images = max(1, STEP // self.processes) if images_per_gpu is None else images_per_gpu
        self._check(there)
        self.accumulated = STEP // (self.processes * self.images)  # iterations per optimizer step
        pairs = argparse.ArgumentParser()
        pairs.add_argument('--options', nargs='+', action=DictAction)
        options = pairs.parse_args(['--options', *self.options()]).options
        names = CELLS + (FAMILY[:3 if mini else 6] if family else ())  # in a rehearsal, RetinaNet alone
        self.files = {name: str(find_config(f'{name}_{"mini" if mini else "coco"}')) for name in names}
        self.configs = {name: read_config(file, options) for name, file in self.files.items()}
        self.cells = [self._cell(name, cfg) for name, cfg in self.configs.items()]

    def _check(self, there: int) -> None:
        odd = [pair for pair in self.cfg_options if '=' not in pair]
        decided = [pair for pair in self.cfg_options if pair.split('=')[0] in DECIDED]
        split = self.processes * self.images
        for wrong, message in (
            (not self.mini and self.data_root is None,
             'name the folder of COCO with --data-root (ghostdet prepare-coco '
             'DIR prepares it), or rehearse on the built-in data with --mini'),
            (not 0 <= self.gpus <= there,
             f'--gpus {self.gpus}: expected 0 to {there}, the number of GPUs that torch finds'),
            (split < 1 or STEP % split,
             f'--gpus {self.gpus} --images-per-gpu {self.images}: a step has {STEP} images, and '
             f'{self.processes} x {self.images} does not divide {STEP}'),
            (not 0 <= self.seed < 2**32, f'--seed {self.seed}: expected a seed from 0 to 2^32 - 1'),
            (odd, f'--cfg-options: expected KEY=VALUE, got {" ".join(odd)}'),
            (decided, f'--cfg-options {" ".join(decided)}: use --gpus, --images-per-gpu and --seed for this'),
        ):
            if wrong:
                raise UserError(message)

    def options(self) -> list[str]:
        """Return the config settings of a training run; those of the user come last and win."""
        split = [f'train_dataloader.batch_size={self.images}', f'randomness.seed={self.seed}']
        split += [f'optim_wrapper.accumulative_counts={self.accumulated}'] if self.accumulated > 1 else []
        return [*(REHEARSAL if self.mini else ()), *split, *self.cfg_options]

    def run(self, words: Sequence[str] | None = None) -> Table9:
        """Train the unfinished cells whose name contains one of `words`; None: all. A cell that fails does not stop the
        others.

        Raises:
            UserError: no cell matches a word, the folder was started with other settings, the data is not COCO, or
                training runs failed; those have printed why.
            Interrupted: the user stopped the run.
        """
        words = list(self.files) if words is None else words
        unknown = [word for word in words if not any(word in name for name in self.files)]
        if unknown:
            raise UserError(f'--only: no detector has {" or ".join(unknown)} in its name; the names are '
                            f'{", ".join(self.files)}')
        self._check_data()
        make_folder(self.work_dir, '--work-dir')
        with file_lock(self.work_dir / 'lock', f'{self.work_dir}: another run uses this folder; waiting for it to end'):
            self._check_settings()
            finished = [cell.name for cell in self.write_table().cells if cell.result]
            left = [name for name in self.files if name not in finished and any(word in name for word in words)]
            LOGGER.info(f'finished: {", ".join(finished) or "none"}; left: {", ".join(left) or "none"}')
            failed = [name for name in left if not self._finish(name)]
            table = self.write_table()
        if failed:
            raise UserError(f'{len(failed)} of {len(left)} training runs failed: {", ".join(failed)}. The errors are '
                            f'printed above and in the logs below {self.work_dir}/. Fix them and run the same command '
                            'again to continue')
        return table

    def write_table(self) -> Table9:
        """Write table9.md, .json and .png from the finished cells, which have a result.json."""
        results = {file.parent.name: json.loads(file.read_text()) for file in self.work_dir.glob('*/result.json')}
        table = Table9(tuple(replace(cell, result=results.get(cell.name)) for cell in self.cells), self.mini)
        write_whole(self.work_dir / 'table9.md', table.to_markdown().encode())
        write_whole(self.work_dir / 'table9.json', table.to_json().encode())
        table.draw(self.work_dir / 'table9.png')
        return table

    def _cell(self, name: str, cfg: Config) -> Cell:
        cost, expected = measure_config(cfg, self.files[name]), expected_of(cfg).ap if cfg.get('expected') else None
        paper = None if self.mini else expected  # the AP expected in a rehearsal is not from the paper
        return Cell(name, cost.figures()['imagenet_macs'], cost.total.parameters, paper)

    def _check_data(self) -> None:
        if self.data_root is not None:
            splits = find_splits(Path(self.data_root))
            count = len(read_annotations(splits.get('val', splits['train']))['images'])
            if count != VAL_IMAGES and not self.mini:
                raise UserError(f'{self.data_root} has {count:,} images to evaluate on, but COCO\'s val2017 has '
                                f'{VAL_IMAGES:,}: this table compares with the paper, so it needs COCO. For other data '
                                'use ghostdet train, or add --mini, which does not compare with the paper')

    def _check_settings(self) -> None:
        """Check that no cell was trained with other settings, and save the settings for later starts."""
        now = dict(mini=self.mini, data_root=self.data_root, gpus=self.gpus, images_per_gpu=self.images, seed=self.seed,
                   cfg_options=self.cfg_options)
        file = self.work_dir / 'reproduction.json'
        before = json.loads(file.read_text())['settings'] if file.is_file() else now
        other = [f'{key} was {before.get(key)} and is {value}'
                 for key, value in now.items() if before.get(key) != value]
        if other and any(path.is_dir() for path in self.work_dir.iterdir()):
            raise UserError(f'{self.work_dir} was started with other settings: {"; ".join(other)}. All cells of a '
                            'table need the same settings: use the earlier ones, or name another --work-dir')
        write_whole(file, json.dumps(dict(settings=now), indent=1).encode())

    def _finish(self, name: str) -> bool:
        """Train a cell to the end, and write its result and the table; return False if it failed.

        Raises:
            Interrupted: the training run was interrupted, and has ended.
        """
        LOGGER.info(f'\ntraining {name}')
        hidden = {} if self.gpus else dict(CUDA_VISIBLE_DEVICES='')
        with subprocess.Popen(self._command(name), env={**os.environ, **hidden}) as process:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)  # the terminal sends it, too; the run counts both as one
                process.wait()
                code = STOPPED
        if code == STOPPED:
            raise Interrupted('stopped, as requested; run the same command again to continue')
        if code == 0:
            write_whole(self.work_dir / name / 'result.json', json.dumps(self._result(name), indent=1).encode())
            self.write_table()
        return code == 0

    def _command(self, name: str) -> list[str]:
        """Return the command that trains a cell: one process, or one for each GPU."""
        launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(self.gpus)]
        command = [sys.executable, *(launch if self.gpus > 1 else []), *TRAINER, self.files[name],
                   '--work-dir', str(self.work_dir / name), '--resume']
        command += ['--data-root', self.data_root] if self.data_root else []
        command += ['--launcher', 'pytorch'] if self.gpus > 1 else []
        command += ['--amp'] if self.gpus else []
        command += ['--cfg-options', *self.options()]
        # The warm-up keeps its length in optimizer steps: mmengine's schedule counts iterations.
        warm_up = self.configs[name].param_scheduler[0].end * self.accumulated
        return [*command, f'param_scheduler.0.end={warm_up}'] if self.accumulated > 1 else command

    def _result(self, name: str) -> dict[str, Any]:
        """Return the `result` of a `Cell` whose training run has ended."""
        training, validation = read_scalars(self.work_dir / name)
        steps = [record['time'] for record in training]
        return dict(
            metrics=json.loads((self.work_dir / name / 'coco.json').read_text())['metrics'],
            ap_by_epoch=[(record['step'], record['coco/bbox_mAP']) for record in validation],
            hours=mean(steps) * training[-1]['step'] / 3600 if steps else None,
            images_per_second=self.processes * self.images / median(steps) if steps else None,
            made=dict(finished=f'{datetime.now():%Y-%m-%d %H:%M}', machine=machine(self.gpus), gpus=self.gpus,
                      data=self.data_root or 'built in', split=f'{self.processes} x {self.images} x {self.accumulated}',
                      amp=bool(self.gpus), seed=self.seed, options=' '.join(self.cfg_options) or '-',
                      revision=revision(), **versions()))
