"""Saves checkpoints so that one complete file is always on disk, and finds the newest readable one."""
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.fileio import register_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ghostdet.data.loading import IGNORING
from ghostdet.errors import UserError, reason
from ghostdet.files import UNFINISHED, write_whole
from ghostdet.messages import LOGGER, shorten
from ghostdet.options import valid_thresholds
from ghostdet.training.hooks import CURES
from ghostdet.training.randomness import random_state
from ghostdet.weights.checkpoint_file import DamagedFileError
from ghostdet.weights.reader import read_file, split_options

POINTER = 'last_checkpoint'
NOTHING_YET = b'none'  # in the pointer of a run that has not saved anything
INTERRUPTED = 'interrupted.pth'
THRESHOLDS = 'thresholds'  # key in a checkpoint's message hub


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model without its distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def ignored_orientation(meta: dict) -> bool:
    """Return whether a checkpoint's run took images' pixels as stored in the file, by the config in its `meta`."""
    return IGNORING in str(meta.get('cfg'))


def learned_classes(meta: dict) -> list[str] | None:
    """Return the classes that a checkpoint was trained on, in label order; None if its `meta` does not say."""
    data: Any = meta.get('dataset_meta')
    data = data if isinstance(data, dict) else {}
    # the current key, then those of older mmdet versions
    learned = data.get('classes', data.get('CLASSES', meta.get('CLASSES')))
    is_list = isinstance(learned, (list, tuple)) and all(isinstance(name, str) for name in learned)
    return list(learned) if is_list else None


def kept_thresholds(content: dict, classes: Sequence[str]) -> dict | None:
    """Return the thresholds in a checkpoint that an evaluation gave: `all` and `classes`; None if it has none."""
    hub = content.get('message_hub')
    info = hub.get('runtime_info') if isinstance(hub, dict) else None
    return valid_thresholds(info.get(THRESHOLDS) if isinstance(info, dict) else None, classes)


def check_classes(learned: Sequence[str], asked: Sequence[str], file: str) -> None:
    """Check that the detector and the data have the same classes in the same order.

    Raises:
        UserError: the classes or their order differ.
    """
    if list(learned) != list(asked):
        raise UserError(f'{file} was trained on the classes {shorten(learned)}, in this order, but the data has '
                        f'{shorten(asked)}: use data with the same categories in the same order; to train on other '
                        'classes, name another work directory')


class WholeFiles(LocalBackend):
    """mmengine's local storage, but it writes files atomically and delays deletion.

    `remove` only notes a file; `clear` deletes the noted files.
    """

    def __init__(self) -> None:
        super().__init__()
        self.condemned: list[Path] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write `obj` to `filepath` atomically."""
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        write_whole(filepath, obj)

    def rmtree(self, dir_path: str | Path) -> None:
        """Do nothing: no checkpoint is a folder here."""

    def remove(self, filepath: str | Path) -> None:
        """Note that `filepath` can be deleted later.

        mmengine calls this before it has written the replacement.
        """
        self.condemned.append(Path(filepath))

    def clear(self, folder: str | Path, keep: Iterable[str] = ()) -> None:
        """Delete the noted files in `folder`, except those with a name in `keep`.

        Paths outside `folder` are ignored: they come from a resumed checkpoint and belong to another run.
        """
        kept = {Path(path).name for path in keep}
        for path in self.condemned:
            if path.resolve().parent == Path(folder).resolve() and path.name not in kept:
                path.unlink(missing_ok=True)
        self.condemned.clear()


register_backend('whole_files', WholeFiles, force=True)


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, but it writes files atomically and deletes old ones only after that.

    It also refuses to save NaN or infinite parameters, records which epoch was evaluated, and can save in the middle of
    an epoch.
    """

    def __init__(self, backend_args: dict | None = None, **options: Any) -> None:
        super().__init__(backend_args=backend_args or dict(backend='whole_files'), **options)
        self.last_ckpt: str | None = None
        self.last_step: int | None = None
        self.saved_epoch: int | None = None  # epoch of the last checkpoint, if that was saved at its end
        self.batches = 0  # done in the current epoch

    def before_train(self, runner: Runner) -> None:
        """Check the paths and numbers that came from a checkpoint; delete files that an interrupted write left."""
        self._clean(runner.message_hub.runtime_info, Path(self.out_dir or runner.work_dir))
        super().before_train(runner)
        self.last_ckpt = runner._load_from if runner._resume else None
        self.batches = getattr(runner.train_loop, 'batches_done', 0)
        # epoch of the resumed checkpoint
        self.saved_epoch = runner.epoch if runner.epoch and not self.batches else None
        if not runner.iter and is_main_process():
            write_whole(Path(runner.work_dir) / POINTER, NOTHING_YET)  # an earlier run's pointer does not count
        if is_main_process() and isinstance(self.file_backend, WholeFiles):
            for part in Path(self.out_dir).glob(f'*{UNFINISHED}'):
                part.unlink(missing_ok=True)
        self._clear()

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, and the last one again; both with the thresholds that the evaluation gave."""
        table = getattr(runner, 'table', None)
        runner.message_hub.update_info(THRESHOLDS, table.point.thresholds if table else None)
        super().after_val_epoch(runner, metrics)
        runner.message_hub.update_info('evaluated_epoch', runner.epoch)
        if self.last_step is not None and self.saved_epoch == runner.epoch:
            self._save_checkpoint_with_step(runner, self.last_step, dict(epoch=runner.epoch, iter=runner.iter))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save a checkpoint if their interval is in iterations."""
        self.batches = batch_idx + 1
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def save_interrupted(self, runner: Runner, batches: int, total: int) -> str:
        """Save the run after `batches` of the epoch's `total` batches; return the path of the file."""
        self.batches = batches
        self._write(runner, INTERRUPTED, dict(epoch=runner.epoch, iter=runner.iter, **self._position(total)))
        return self.file_backend.join_path(self.out_dir, INTERRUPTED)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add unfinished accumulated gradients to a checkpoint that a run can continue from."""
        if 'optimizer' not in checkpoint:
            return
        counts = runner.optim_wrapper
        if getattr(counts, '_accumulative_counts', 1) > 1 and counts._inner_count % counts._accumulative_counts:
            gradients = {name: parameter.grad for name, parameter in unwrapped(runner.model).named_parameters()}
            checkpoint['gradients'] = {name: value.cpu() for name, value in gradients.items() if value is not None}

    def _save_checkpoint(self, runner: Runner) -> None:
        total = len(runner.train_dataloader)
        if self.by_epoch or not hasattr(runner.train_loop, 'resume_within'):
            self.saved_epoch = runner.epoch + 1 if self.by_epoch else None
            super()._save_checkpoint(runner)
        elif self.batches == total:
            self.saved_epoch = runner.epoch + 1
            self._save_checkpoint_with_step(runner, runner.iter + 1, dict(epoch=runner.epoch + 1, iter=runner.iter + 1))
        else:
            self.saved_epoch = None
            meta = dict(epoch=runner.epoch, iter=runner.iter + 1, **self._position(total))
            self._save_checkpoint_with_step(runner, runner.iter + 1, meta)

    def _position(self, total: int) -> dict:
        return dict(batches=self.batches, batches_per_epoch=total, random=random_state())

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        kept = [known for known in getattr(self, 'keep_ckpt_ids', ()) if known != step] + [step]
        # The saved list still names the files that are deleted after this write. If the run is killed in between, the
        # resumed run deletes them.
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
        if not self.save_best:
            return
        self._refuse_broken(runner, 'the best checkpoint')
        # if set, mmengine rewrites the last checkpoint here; after_val_epoch does it
        last, self.last_ckpt = self.last_ckpt, None
        try:
            super()._save_best_checkpoint(runner, metrics)
        except OSError as error:
            raise self._not_written('the best checkpoint', error) from error
        finally:
            self.last_ckpt = last
        paths = [self.best_ckpt_path] if hasattr(self, 'best_ckpt_path') else self.best_ckpt_path_dict.values()
        self._clear(keep=[path for path in paths if path])

    def _write(self, runner: Runner, name: str, meta: dict) -> None:
        self._refuse_broken(runner, name)
        path = self.file_backend.join_path(self.out_dir, name)
        try:
            runner.save_checkpoint(self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
                                   meta=meta, save_param_scheduler=self.save_param_scheduler, by_epoch=self.by_epoch,
                                   backend_args=self.backend_args, **self.args)
            if is_main_process():
                write_whole(Path(runner.work_dir) / POINTER, path.encode())
        except OSError as error:
            raise self._not_written(path, error) from error
        self.last_ckpt = path
        runner.message_hub.update_info('last_ckpt', path)

    def _refuse_broken(self, runner: Runner, name: str) -> None:
        if not all(torch.isfinite(value).all() for value in runner.model.state_dict().values()
                   if value.is_floating_point()):
            raise UserError(f'at iteration {runner.iter} some parameters are NaN or infinite, so {name} was not '
                            f'written. The last checkpoint before that: {self.last_ckpt or "none yet"}. {CURES}')

    def _not_written(self, what: str, error: OSError) -> UserError:
        return UserError(f'{what} cannot be written ({reason(error)}). The last complete checkpoint: '
                         f'{self.last_ckpt or "none yet"}. Check the free space and the permissions there, then '
                         'continue with --resume')

    def _clean(self, info: dict, folder: Path) -> None:
        """Keep only valid entries of a resumed run's `info`.

        Files are looked up by name in `folder`: it may have been moved, and a path from a checkpoint is not trusted.
        """
        for key in [key for key in info if key.startswith('best_ckpt')]:
            own = folder / Path(str(info[key])).name
            if not re.fullmatch(r'best_.+\.pth', own.name) or not own.is_file():
                del info[key]
            else:
                info[key] = str(own)
        kept = info.get('keep_ckpt_ids', [])
        info['keep_ckpt_ids'] = [step for step in kept if type(step) is int] if isinstance(kept, list) else []
        for key in [key for key in info if key.startswith('best_score') and not isinstance(info[key], (int, float))]:
            del info[key]

    def _clear(self, names: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
        if is_main_process() and isinstance(self.file_backend, WholeFiles):
            for name in names:
                self.file_backend.remove(Path(self.out_dir) / name)
            self.file_backend.clear(self.out_dir, keep)


def checkpoint_of(name: str) -> str:
    """Return the name of a checkpoint; of a run's folder, the path of its last checkpoint.

    Raises:
        UserError: there is no such file or folder, or the folder has no checkpoint.
    """
    file = Path(split_options(name)[0]).expanduser()
    if '://' in name or file.is_file():
        return name
    if not file.is_dir():
        raise UserError(f'there is no checkpoint {file.absolute()}')
    last = find_checkpoint(file)[0]
    if last is None:
        raise UserError(f'{file.absolute()} is no folder of a run: it has no checkpoint')
    LOGGER.info(f'the last checkpoint in {file}: {last.name}')
    return str(last)


def find_checkpoint(work_dir: Path) -> tuple[Path | None, list[str]]:
    """Find the newest readable checkpoint of a run.

    Returns:
        Its path, or None if the run has saved none yet; and what is wrong with newer ones.

    Raises:
        UserError: there are checkpoints, but none can be read.
        UnsafeFileError: a checkpoint holds more than data.
    """
    damaged: list[str] = []
    for file in _candidates(work_dir):
        try:
            read_file(file)
            return file, damaged
        except DamagedFileError as error:
            damaged.append(str(error))
    if damaged:
        raise UserError(f'no checkpoint in {work_dir} can be read: {"; ".join(damaged)}. To start from the '
                        'beginning, train without --resume')
    return None, []


def _candidates(work_dir: Path) -> Iterator[Path]:
    """Yield the file that `last_checkpoint` names, then those of earlier steps, newest first."""
    pointer = work_dir / POINTER
    named = pointer.read_bytes() if pointer.is_file() else b''
    if named == NOTHING_YET:
        return
    path = Path(named.decode(errors='replace').strip() or '.')
    # First by name: the folder may have been moved, or the run started from another directory.
    last = next((file for file in (work_dir / path.name, path) if file.is_file()), None)
    folder = last.parent if last else work_dir
    numbered = [(file, re.fullmatch(r'(?:epoch|iter)_(\d+)', file.stem)) for file in folder.glob('*_*.pth')]
    steps = {file: int(number[1]) for file, number in numbered if number}
    limit = float('inf')
    if last is not None:
        yield last
        limit = steps.get(last, limit)
    yield from sorted((file for file, step in steps.items() if step < limit and file != last),
                      key=lambda file: -steps[file])


def check_run_state(content: dict, name: str) -> None:
    """Check that a run can continue from the checkpoint `content`.

    Raises:
        UserError: a part is missing or has a wrong value.
    """
    kinds: dict[str, Any] = dict(meta=dict, message_hub=dict, optimizer=dict, param_schedulers=(list, dict))
    without: dict[str, list] = {'param_schedulers': []}  # a run without schedules saves none
    missing = [key for key, kind in kinds.items() if not isinstance({**without, **content}.get(key), kind)]
    if missing:
        raise UserError(f'{name} has no valid {", ".join(missing)}, so no run can continue from it (a best checkpoint, '
                        'for example, has no optimizer). To start from its weights, use --load-from')
    meta = content['meta']
    limits = dict(epoch=2**31, iter=2**40, seed=2**32, batches=meta.get('batches_per_epoch', 0))
    given = {'epoch': None, 'iter': None, **meta}
    wrong = [f'{key}={given[key]!r}' for key, limit in limits.items()
             if key in given and not (type(given[key]) is int and 0 <= given[key] < max(limit, 1))
             and not (key == 'seed' and given[key] is None)]
    if wrong or (meta.get('batches') and set(meta.get('random') or ()) != {'python', 'numpy', 'torch', 'cuda'}):
        raise UserError(f'{name} does not say correctly where its run stopped (wrong: '
                        f'{", ".join(wrong) or "random numbers"}). To start from its weights, use --load-from')
