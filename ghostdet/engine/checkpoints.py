"""A run's checkpoints: always one whole file on the disk, and found again."""
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.fileio import register_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ghostdet.engine.hooks import CURES
from ghostdet.engine.randomness import random_state
from ghostdet.errors import UserError, reason
from ghostdet.weights.checkpoint_file import DamagedFileError, read

UNFINISHED = '.part'  # ending of a file while it is written
POINTER = 'last_checkpoint'
INTERRUPTED = 'interrupted.pth'


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file so that at any moment, power cuts included, `path` is the old content or the new, never less.

    Raises:
        OSError: it cannot be written; `path` is as it was.
    """
    target = Path(path)
    part = target.with_name(target.name + UNFINISHED)
    try:
        with part.open('wb') as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(target)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, is on the disk before anything old is deleted
    finally:
        os.close(folder)


class WholeFiles(LocalBackend):
    """mmengine's local storage, where a file is there whole or not at all, and files go only when told so for the second time."""

    def __init__(self) -> None:
        super().__init__()
        self.condemned: list[Path] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write `obj` to `filepath`."""
        write_whole(filepath, obj)

    def remove(self, filepath: str | Path) -> None:
        """Note that `filepath` is not needed any more: mmengine says so before it has written what is to take its place."""
        self.condemned.append(Path(filepath))

    def clear(self, folder: str | Path, keep: Iterable[str] = ()) -> None:
        """Delete what was noted but for `keep`. A path outside `folder` came out of a checkpoint, and is not this run's."""
        kept = {Path(path).name for path in keep}
        for path in self.condemned:
            if path.resolve().parent == Path(folder).resolve() and path.name not in kept:
                path.unlink(missing_ok=True)
        self.condemned.clear()


register_backend('whole_files', WholeFiles, force=True)


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, which writes each file whole and deletes an old one only when the new one is there.

    It also refuses to save parameters that have become NaN or infinite, remembers which epoch was evaluated, and can save in the
    middle of an epoch.
    """

    def __init__(self, backend_args: dict | None = None, **options: Any) -> None:
        super().__init__(backend_args=backend_args or dict(backend='whole_files'), **options)
        self.last_ckpt: str | None = None
        self.last_step: int | None = None

    def before_train(self, runner: Runner) -> None:
        """Remove what an interrupted write has left."""
        super().before_train(runner)
        # By name: the folder may have been moved since, and a path that a file brought along is not to be trusted.
        if hasattr(self, 'best_ckpt_path'):
            self.best_ckpt_path: str | None = self._own(self.best_ckpt_path)
        elif self.save_best:
            self.best_ckpt_path_dict: dict = {key: self._own(path) for key, path in self.best_ckpt_path_dict.items()}
        if is_main_process() and isinstance(self.file_backend, WholeFiles):
            for part in Path(self.out_dir).glob(f'*{UNFINISHED}'):
                part.unlink(missing_ok=True)
        self._clear()

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the best, and note in the last checkpoint that its epoch was evaluated."""
        super().after_val_epoch(runner, metrics)
        runner.message_hub.update_info('evaluated_epoch', runner.epoch)
        if self.last_step == runner.epoch:
            self._save_checkpoint_with_step(runner, runner.epoch, dict(epoch=runner.epoch, iter=runner.iter))

    def save_interrupted(self, runner: Runner, batches: int, total: int) -> str:
        """Save a run in the middle of an epoch, after `batches` of its `total`; returns the file's path."""
        self._write(runner, INTERRUPTED, dict(epoch=runner.epoch, iter=runner.iter, batches=batches, batches_per_epoch=total,
                                              random=random_state()))
        return self.file_backend.join_path(self.out_dir, INTERRUPTED)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep gradients that wait for further batches of their step."""
        counts = runner.optim_wrapper
        if getattr(counts, '_accumulative_counts', 1) > 1 and counts._inner_count % counts._accumulative_counts:
            model = getattr(runner.model, 'module', runner.model)
            gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
            checkpoint['gradients'] = {name: value.cpu() for name, value in gradients.items() if value is not None}

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        kept = [known for known in getattr(self, 'keep_ckpt_ids', ()) if known != step] + [step]
        # The files that go after this write are still in the list that is saved: should it be killed in between, the resumed
        # run deletes them.
        runner.message_hub.update_info('keep_ckpt_ids', kept)
        name = self.filename_tmpl.format(step)
        self._write(runner, name, meta)
        self.last_step = step
        old = [INTERRUPTED]
        if self.max_keep_ckpts > 0:
            old += [self.filename_tmpl.format(earlier) for earlier in kept[:-self.max_keep_ckpts]]
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self._clear(old, keep=[name])

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        last, self.last_ckpt = self.last_ckpt, None  # without it mmengine leaves the last checkpoint to after_val_epoch
        try:
            super()._save_best_checkpoint(runner, metrics)
        except OSError as error:
            raise self._not_written('the best checkpoint', error) from error
        finally:
            self.last_ckpt = last
        paths = [self.best_ckpt_path] if hasattr(self, 'best_ckpt_path') else self.best_ckpt_path_dict.values()
        self._clear(keep=[path for path in paths if path])

    def _write(self, runner: Runner, name: str, meta: dict) -> None:
        if not all(torch.isfinite(value).all() for value in runner.model.state_dict().values() if value.is_floating_point()):
            raise UserError(f'at iteration {runner.iter} some parameters are not finite numbers, so {name} was not written. '
                            f'The last checkpoint, {self.last_ckpt or "none yet"}, is from before that. {CURES}; then --resume')
        path = self.file_backend.join_path(self.out_dir, name)
        try:
            runner.save_checkpoint(self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer, meta=meta,
                                   save_param_scheduler=self.save_param_scheduler, by_epoch=self.by_epoch,
                                   backend_args=self.backend_args, **self.args)
            if is_main_process():
                write_whole(Path(runner.work_dir) / POINTER, path.encode())
        except OSError as error:
            raise self._not_written(path, error) from error
        self.last_ckpt = path
        runner.message_hub.update_info('last_ckpt', path)

    def _not_written(self, what: str, error: OSError) -> UserError:
        return UserError(f'{what} cannot be written ({reason(error)}). The last checkpoint is whole: '
                         f'{self.last_ckpt or "none yet"}. Make room there, and go on with --resume')

    def _own(self, path: str | None) -> str | None:
        return path and str(Path(self.out_dir) / Path(path).name)

    def _clear(self, names: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
        if is_main_process() and isinstance(self.file_backend, WholeFiles):
            for name in names:
                self.file_backend.remove(Path(self.out_dir) / name)
            self.file_backend.clear(self.out_dir, keep)


def find_checkpoint(work_dir: Path) -> tuple[Path | None, list[str]]:
    """The last checkpoint of a run that can be read, None where there is none yet, and what is wrong with newer ones.

    Raises:
        UserError: none of them can be read.
        UnsafeFileError: the last one holds more than data.
    """
    damaged: list[str] = []
    for file in _candidates(work_dir):
        try:
            read(file)
            return file, damaged
        except DamagedFileError as error:
            damaged.append(str(error))
    if damaged:
        raise UserError(f'--resume: no checkpoint in {work_dir} can be read: {"; ".join(damaged)}. Without --resume the '
                        'run starts anew')
    return None, []


def _candidates(work_dir: Path) -> Iterator[Path]:
    """The file that `last_checkpoint` names, which may be cut short itself, then those of the steps before it."""
    numbered = [(file, re.fullmatch(r'(?:epoch|iter)_(\d+)', file.stem)) for file in work_dir.glob('*_*.pth')]
    steps = {file: int(number[1]) for file, number in numbered if number}
    pointer = work_dir / POINTER
    # By name: the folder may have been moved since, or the run started elsewhere.
    last = work_dir / Path(pointer.read_text(errors='replace').strip() or '.').name if pointer.is_file() else None
    if last is not None and last.is_file():
        yield last
    limit = steps.get(last, float('inf')) if last else float('inf')
    yield from sorted((file for file, step in steps.items() if step < limit and file != last), key=lambda file: -steps[file])
