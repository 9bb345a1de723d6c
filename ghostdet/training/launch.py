"""Trains or evaluates from a config: checks everything first, then runs, then writes the report."""
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, init_dist

from ghostdet import ops
from ghostdet.data.check import Checked
from ghostdet.data.duplicates import shared_images
from ghostdet.data.sources import Source, check_val_fraction, find_sources, read_source
from ghostdet.errors import UserError, has_own_message, reason
from ghostdet.evaluation.expected import Expected, expected_of
from ghostdet.evaluation.metrics import choose_metric, is_fast
from ghostdet.files import make_folder
from ghostdet.messages import LOGGER
from ghostdet.packaged_configs import config_name
from ghostdet.training.checkpoints import check_run_state, find_checkpoint
from ghostdet.training.config_file import read_config
from ghostdet.training.datasets import (
    EVALUATORS,
    classes_of,
    configured_splits,
    ignore_orientation,
    prepare_datasets,
    reads_upright,
    split_of,
)
from ghostdet.training.hooks import OverviewHook
from ghostdet.training.initial_weights import drop_weights, ensure_weights
from ghostdet.training.options import DetectionOptions, EvaluationOptions, RunOptions, TrainOptions
from ghostdet.training.report import DETECTIONS, Report, clear_detections, write_report, write_unscored
from ghostdet.training.runner import DetectionRunner
from ghostdet.training.training_data import fit_to_data
from ghostdet.weights.fitting import read_checkpoint
from ghostdet.weights.reader import split_options
from ghostdet.weights.schemes import safe_loading

RUNS = count(1)  # numbers the runs of this process


def train(options: TrainOptions) -> Report | None:
    """Train a detector.

    Returns:
        The report of the last evaluation; None in all processes but the first.

    Raises:
        UserError: something is missing or wrong. It is raised before the run starts if possible.
        Interrupted: the user stopped the run. The run is saved, if its config saves checkpoints.
    """
    if options.load_from and options.from_scratch:
        raise UserError('--load-from and --from-scratch exclude each other: choose one')
    cfg = _configure(options)
    expected = expected_of(cfg) if options.check_expected else None
    if options.amp:
        _use_amp(cfg)
    overview = OverviewHook(_check_data(cfg, options, ('train', 'val')), Path(cfg.work_dir) / 'data')
    with safe_loading(options.trust_checkpoint):
        _choose_start(cfg, options)
        runner = _runner(cfg)
        runner.register_hook(overview)
        runner.train()
    return _report(cfg, 'val', expected, curves=True)


def evaluate(options: EvaluationOptions, detect: Callable[[Config, EvaluationOptions], None]) -> Report | None:
    """Evaluate what `detect` finds: `test_checkpoint`, or another function that writes the detections to the work
    directory.

    Returns:
        The report; None in all processes but the first.

    Raises:
        UserError: something is missing or wrong.
    """
    cfg = _configure(options, below='test')
    expected = expected_of(cfg) if options.check_expected else None
    _check_exists(options.checkpoint)
    _check_data(cfg, options, ('test',))
    detect(cfg, options)
    return _report(cfg, 'test', expected, curves=False)


def test_checkpoint(cfg: Config, options: EvaluationOptions) -> None:
    """Run a checkpoint on the test images."""
    if options.precision != 'fp32':
        raise UserError(f'--precision {options.precision} works only with exported files: a checkpoint is evaluated in '
                        'fp32')
    cfg.load_from, cfg.resume = options.checkpoint, False
    drop_weights(cfg)
    if options.show_dir:
        cfg.default_hooks.visualization.update(draw=True, test_out_dir=str(options.show_dir.absolute()))
    with safe_loading(options.trust_checkpoint):
        runner = _runner(cfg)
        runner.optimized = options.optimize
        runner.test()


# ----------------------------------------------------------------------------------------------------- before the run

def _configure(options: DetectionOptions, below: str = '') -> Config:
    cfg = read_config(options.config, options.cfg_options)
    LOGGER.info(f'config: {cfg.filename}')
    prepare_run(cfg, options, below)
    for evaluator in EVALUATORS.values():
        found = cfg.get(evaluator)
        choose_metric(found, evaluator, options.fast_eval)
        found['outfile_prefix'] = str(Path(cfg.work_dir) / DETECTIONS)
        found['collect_device'] = 'gpu' if options.launcher != 'none' else 'cpu'  # 'gpu' needs no shared folder
    if cfg.get('visualizer'):
        cfg.visualizer.pop('name', None)  # mmengine reuses a visualizer of the same name, and its folder
    if find_spec('tensorboard') is None and cfg.get('visualizer'):
        backends = cfg.visualizer.get('vis_backends') or []
        cfg.visualizer.vis_backends = [backend for backend in backends if backend.type != 'TensorboardVisBackend']
        LOGGER.info('tensorboard is not installed, so the run writes no TensorBoard log: pip install tensorboard')
    return cfg


def _runner(cfg: Config) -> DetectionRunner:
    """Build the runner. Unless the run is resumed, delete the detections of an earlier run, which the report could take
    for new.

    Raises:
        UserError: the runner cannot be built.
    """
    LOGGER.info(f'nms and other operators: {ops.origin()}')
    if not cfg.resume:
        clear_detections(Path(cfg.work_dir))
    try:
        return DetectionRunner.from_cfg(cfg)
    except Exception as error:  # a config is a program and can raise anything
        if has_own_message(error):
            raise
        raise UserError(f'the run cannot be set up ({reason(error)}): check the config') from error


def _use_amp(cfg: Config) -> None:
    if not torch.cuda.is_available():
        raise UserError('--amp needs a CUDA GPU, but torch finds none: leave out --amp to train in float32')
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')


def _check_data(cfg: Config, options: DetectionOptions, names: tuple[str, ...]) -> list[Checked]:
    """Check the data of the loaders `names`, set it in `cfg`, log what it contains, and return it.

    Data named on the command line replaces that of the config. A test reads the val split. If the command line names
    data without a val split, the train split takes its place, with a warning.

    Raises:
        DataError: the data is missing or wrong.
    """
    check_val_fraction(options.val_fraction, options.val_split, options.val_ann, options.val_img)
    replaces = options.data_root is not None or any(options.named.values())
    if options.val_fraction and not replaces:
        raise UserError('--val-fraction cuts a val split off the data of --data-root or --train-ann: name one of them')
    if options.ignore_orientation:
        ignore_orientation(cfg)
    folder = Path(cfg.work_dir) / 'data'
    checked = prepare_datasets(cfg, _sources(cfg, options, names) if replaces else
                               {name: read_source(split, reads_upright(cfg, name))
                                for name, split in configured_splits(cfg, names).items()},
                               replaces, options.skip_bad, folder, options.val_fraction)
    if isinstance(options, TrainOptions):
        checked[0].notes += fit_to_data(cfg, checked[0], options.keep_empty)
        checked[1].notes += shared_images(*checked)
    for split in checked:
        LOGGER.info(split.summary())
        if split.changed:
            LOGGER.info(f'  the run uses {folder / split.split.name}.json; {split.split.name}_left_out.json in the '
                        'same folder lists what was changed or left out')
    if not checked[-1].annotated:
        cfg[EVALUATORS['test']].format_only = True
    return checked


def _sources(cfg: Config, options: DetectionOptions, names: tuple[str, ...]) -> dict[str, Source]:
    """Read the splits `names` of the data that the user named. A test uses the val split.

    Raises:
        DataError: the data is missing or wrong.
    """
    upright = reads_upright(cfg, names[0])
    readers = find_sources(options.data_root, options.train_split, options.val_split, upright, **options.named)
    if options.val_fraction:
        return dict.fromkeys(names, readers['train']())
    if 'val' not in readers:
        LOGGER.warning('\nATTENTION: there is no val split, so this run evaluates on its own TRAINING images. The AP '
                       'shows whether it learns, not how good it is. --val-fraction 0.2 cuts a val split off.\n')
        readers['val'] = readers['train']
    sources = {name: readers[name if name in readers else 'val']() for name in names}
    return {name: replace(source, split=replace(source.split, name='train' if name == 'train' else 'val'))
            for name, source in sources.items()}


def _choose_start(cfg: Config, options: TrainOptions) -> None:
    """Set what the run starts from: its own checkpoint, another detector, published weights, or random weights.

    Raises:
        UserError: the file cannot be read or does not fit.
    """
    if options.resume and resume(cfg, options.resume):
        return
    cfg.resume = False
    if options.load_from:
        _check_exists(options.load_from)
        cfg.load_from = options.load_from
    elif options.from_scratch:
        cfg.load_from = None
        LOGGER.info('; '.join(['--from-scratch', *drop_weights(cfg)]))
    elif not cfg.get('load_from'):
        for note in ensure_weights(cfg,
                                   '; or start from a detector with --load-from; or train without them: --from-scratch'):
            LOGGER.info(note)


def prepare_run(cfg: Config, options: RunOptions, below: str = '') -> None:
    """Set the launcher and the work directory in the config, and a name and a seed if it has none.

    Without one, mmengine would draw a random seed at each start.

    Raises:
        UserError: the process was not started by the launcher, or the directory cannot be made.
    """
    if options.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError('--launcher pytorch needs torchrun: torchrun --nproc-per-node N -m ghostdet train ... '
                        '--launcher pytorch')
    if options.launcher == 'slurm' and 'SLURM_PROCID' not in os.environ:
        raise UserError('--launcher slurm needs srun from Slurm, see docs/how-to/several-gpus.md; without Slurm use '
                        'torchrun and --launcher pytorch')
    cfg.launcher = options.launcher
    if options.launcher != 'none':
        _join(cfg, options.launcher)
    cfg.work_dir = str(options.work_dir
                       or Path(cfg.get('work_dir') or Path('work_dirs') / config_name(options.config)) / below)
    make_folder(Path(cfg.work_dir), '--work-dir')
    # mmengine's runs of one name that start in the same second share their log and TensorBoard files.
    cfg.setdefault('experiment_name', f'{config_name(options.config)}_{next(RUNS)}')
    if (cfg.get('randomness') or {}).get('seed') is None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': 0}


def _join(cfg: Config, launcher: str) -> None:
    """Connect this process to the others of its run. From then on only the first process logs more than errors.

    CPU processes use gloo, because mmengine's launchers and wrapper need GPUs.

    Raises:
        UserError: there are no GPUs and the launcher is not torchrun.
    """
    if torch.cuda.is_available():
        if not torch.distributed.is_initialized():
            init_dist(launcher, **(cfg.get('env_cfg') or {}).get('dist_cfg', {}))
    else:
        _join_on_cpus(cfg, launcher)
    if get_rank():
        LOGGER.setLevel(logging.ERROR)


def _join_on_cpus(cfg: Config, launcher: str) -> None:
    if launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs GPUs, but torch finds none: on CPUs use torchrun and --launcher '
                        'pytorch')
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


def resume(cfg: Config, choice: str) -> bool:
    """Set the checkpoint to resume from in the config; return False if there is none yet.

    Also takes the seed from the checkpoint: the data loaders need it before the checkpoint is loaded.

    Args:
        choice: a checkpoint file, or 'auto' for the last one in the work directory.

    Raises:
        UserError: the checkpoint cannot be read, or a run cannot continue from it.
    """
    if choice == 'auto':
        file, damaged = find_checkpoint(Path(cfg.work_dir))
        for message in damaged:
            LOGGER.info(f'--resume: {message}')
        if file is None:
            earlier = sorted(file.name for file in Path(cfg.work_dir).glob('epoch_*.pth'))
            LOGGER.info(f'--resume: no checkpoint in {cfg.work_dir} yet, so the run starts from the beginning' + (
                f'; {", ".join(earlier)} are from an earlier run: to continue that one, name the file'
                if earlier else ''))
            return False
        choice = str(file)
    _check_exists(choice)
    content = read_checkpoint(choice)
    check_run_state(content, choice)
    cfg.load_from, cfg.resume = choice, True
    LOGGER.info(f'continuing from {choice}')
    seed = content['meta'].get('seed')
    if seed is not None and seed != cfg.randomness.seed:
        LOGGER.info(f'using the seed of the checkpoint, {seed}, not that of the config, {cfg.randomness.seed}')
        cfg.randomness.seed = seed
    return True


def _check_exists(checkpoint: str) -> None:
    file = split_options(checkpoint)[0]
    if '://' not in file and not Path(file).is_file():
        raise UserError(f'there is no checkpoint {Path(file).absolute()}')


# ------------------------------------------------------------------------------------------------------ after the run

def _report(cfg: Config, name: str, expected: Expected | None, curves: bool) -> Report | None:
    if get_rank():
        return None
    split, evaluator = split_of(cfg, name), cfg[EVALUATORS[name]]
    if evaluator.get('format_only'):
        return write_unscored(Path(cfg.work_dir), split, reads_upright(cfg, name))
    report = write_report(Path(cfg.work_dir), split, classes_of(cfg, name), curves, is_fast(evaluator),
                          reads_upright(cfg, name))
    return replace(report, expected=expected)
