"""A training or a test from a config: everything is checked first, then the run, then its report."""
import logging
import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, init_dist

from ghostdet import ops
from ghostdet.data.coco import Split, find_splits
from ghostdet.engine.checkpoints import check_run_state, find_checkpoint
from ghostdet.engine.config_file import read_config
from ghostdet.engine.datasets import EVALUATORS, classes_of, configured_splits, prepare_datasets, split_of
from ghostdet.engine.evaluate_exported import detect
from ghostdet.engine.initial_weights import drop_weights, ensure_weights
from ghostdet.engine.options import DetectionOptions, EvaluationOptions, RunOptions, TrainOptions
from ghostdet.engine.report import DETECTIONS, Report, detections_file, write_report
from ghostdet.engine.runner import DetectionRunner, read_checkpoint
from ghostdet.errors import UserError
from ghostdet.evaluation.expected import Expected, expected_of
from ghostdet.evaluation.metrics import choose_metric, is_fast
from ghostdet.files import make_folder
from ghostdet.messages import LOGGER
from ghostdet.runtime.sessions import is_exported
from ghostdet.weights.schemes import safe_loading
from ghostdet.weights.source import split_options


def train(options: TrainOptions) -> Report | None:
    """Train a detector; returns the last evaluation's report, or None in a process that does not report.

    Raises:
        UserError: something is missing or wrong. It is raised before the run starts where it can be known then.
        Interrupted: the user stopped the run, which is saved.
    """
    cfg = _configure(options)
    expected = expected_of(cfg) if options.check_expected else None
    if options.amp:
        _use_amp(cfg)
    _check_data(cfg, options, ('train', 'val'))
    with safe_loading(options.trust_checkpoint):
        _choose_start(cfg, options)
        runner = _runner(cfg)
        runner.train()
    return _report(cfg, 'val', expected, curves=True)


def evaluate(options: EvaluationOptions) -> Report | None:
    """Evaluate a checkpoint or an exported file; returns the report, or None in a process that does not report.

    Raises:
        UserError: something is missing or wrong.
    """
    cfg = _configure(options, below='test')
    expected = expected_of(cfg) if options.check_expected else None
    _check_exists(options.checkpoint)
    _check_data(cfg, options, ('test',))
    (detect if is_exported(options.checkpoint) else _test_checkpoint)(cfg, options)
    return _report(cfg, 'test', expected, curves=False)


def _test_checkpoint(cfg: Config, options: EvaluationOptions) -> None:
    if options.precision != 'fp32':
        raise UserError(f'--precision {options.precision} is for exported files: a checkpoint is evaluated in fp32')
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
    prepare_run(cfg, options, below)
    for evaluator in EVALUATORS.values():
        found = cfg.get(evaluator)
        choose_metric(found, evaluator, options.fast_eval)
        found['outfile_prefix'] = str(Path(cfg.work_dir) / DETECTIONS)
        found['collect_device'] = 'gpu' if options.launcher != 'none' else 'cpu'  # the first needs no folder that all nodes see
    if cfg.get('visualizer'):
        cfg.visualizer.pop('name', None)  # one name is one visualizer, which writes to its first run's folder
    if find_spec('tensorboard') is None and cfg.get('visualizer'):
        backends = cfg.visualizer.get('vis_backends') or []
        cfg.visualizer.vis_backends = [backend for backend in backends if backend.type != 'TensorboardVisBackend']
        LOGGER.info('tensorboard is not installed, so the run keeps no log for it: pip install tensorboard')
    return cfg


def _runner(cfg: Config) -> DetectionRunner:
    """The run itself; what an earlier one in the same folder detected must not pass for its result."""
    LOGGER.info(f'nms and other operators: {ops.origin()}')
    if not cfg.resume:
        detections_file(Path(cfg.work_dir)).unlink(missing_ok=True)
    return DetectionRunner.from_cfg(cfg)


def _use_amp(cfg: Config) -> None:
    if not torch.cuda.is_available():
        raise UserError('--amp needs a CUDA GPU, and torch sees none here: leave it out to train in float32')
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')


def _check_data(cfg: Config, options: DetectionOptions, names: tuple[str, ...]) -> None:
    """Check the splits `names`, those on the command line if any, and say what they hold."""
    replace = options.data_root is not None or any(options.named.values())
    splits = find_splits(options.data_root, **options.named) if replace else configured_splits(cfg, names)
    if replace and 'val' not in splits:
        splits['val'] = Split('val', splits['train'].annotations, splits['train'].images)
        LOGGER.warning('\nATTENTION: there is no val split (no annotations/instances_val2017.json, no --val-ann), so this run '
                       'evaluates on its own TRAINING images. The AP tells whether it learns, not how good it is.\n')
    chosen = {name: splits[name if name in splits else 'val'] for name in names}  # a test takes the val split
    for checked in prepare_datasets(cfg, chosen, replace, options.skip_bad, Path(cfg.work_dir)):
        LOGGER.info(checked.summary())
        if checked.changed:
            LOGGER.info(f'  the run uses {Path(cfg.work_dir) / "annotations"}/{checked.split.name}.json; what is not in it is '
                        f'listed in {checked.split.name}_left_out.json beside it')


def _choose_start(cfg: Config, options: TrainOptions) -> None:
    """Decide what the run starts from: its own checkpoint, another detector, published weights, or nothing."""
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
        for note in ensure_weights(cfg, '; or start from a detector with --load-from; or train without them: --from-scratch'):
            LOGGER.info(note)


def prepare_run(cfg: Config, options: RunOptions, below: str = '') -> None:
    """Give a run its launcher, its work directory and, where the config has none, a seed: else a resumed run would draw its own.

    Raises:
        UserError: there is no launcher, or no directory can be made.
    """
    if options.launcher == 'pytorch' and 'RANK' not in os.environ:
        tool = Path(sys.argv[0]).name
        raise UserError(f'--launcher pytorch needs torchrun: torchrun --nproc-per-node N tools/{tool} ... --launcher pytorch')
    if options.launcher == 'slurm' and 'SLURM_PROCID' not in os.environ:
        raise UserError('--launcher slurm needs Slurm\'s srun, as docs/distributed.md shows it; without Slurm take torchrun and '
                        '--launcher pytorch')
    cfg.launcher = options.launcher
    if options.launcher != 'none':
        _join(cfg, options.launcher)
    cfg.work_dir = str(options.work_dir or Path(cfg.get('work_dir') or Path('work_dirs') / Path(options.config).stem) / below)
    make_folder(Path(cfg.work_dir), '--work-dir')
    if (cfg.get('randomness') or {}).get('seed') is None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': 0}


def _join(cfg: Config, launcher: str) -> None:
    """Connect this process with the others of its run, before anything is said: the first one speaks for all.

    Processes on CPUs talk through gloo; mmengine's own launchers and wrapper take a GPU for granted.

    Raises:
        UserError: without GPUs, the launcher is not torchrun.
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
        raise UserError(f'--launcher {launcher} needs GPUs, and torch sees none here: on CPUs take torchrun and --launcher '
                        'pytorch')
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


def resume(cfg: Config, choice: str) -> bool:
    """Whether there is a checkpoint to go on from; then the run takes its seed, which the data loaders need before it is loaded.

    Raises:
        UserError: it cannot be read, or holds no state of a run.
    """
    if choice == 'auto':
        file, damaged = find_checkpoint(Path(cfg.work_dir))
        for message in damaged:
            LOGGER.info(f'--resume: {message}')
        if file is None:
            earlier = sorted(file.name for file in Path(cfg.work_dir).glob('epoch_*.pth'))
            LOGGER.info(f'--resume: there is no checkpoint in {cfg.work_dir} yet, so the run starts anew' + (
                f'; {", ".join(earlier)} there are of a run before the last: to go on with it, name the file' if earlier else ''))
            return False
        choice = str(file)
    _check_exists(choice)
    content = read_checkpoint(choice)
    check_run_state(content, choice)
    cfg.load_from, cfg.resume = choice, True
    LOGGER.info(f'going on from {choice}')
    seed = content['meta'].get('seed')
    if seed is not None and seed != cfg.randomness.seed:
        LOGGER.info(f'its seed, {seed}, replaces the config\'s, {cfg.randomness.seed}')
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
    report = write_report(Path(cfg.work_dir), split_of(cfg, name), classes_of(cfg, name), curves, is_fast(cfg[EVALUATORS[name]]))
    return replace(report, expected=expected)
