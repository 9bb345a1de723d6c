"""A training or a test from a config: everything is checked first, then the run, then its report."""
import argparse
import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank

from ghostdet import ops
from ghostdet.data.coco import Split, find_splits
from ghostdet.engine.checkpoints import check_run_state, find_checkpoint
from ghostdet.engine.console import read_config
from ghostdet.engine.datasets import EVALUATORS, classes_of, configured_splits, prepare_datasets, split_of
from ghostdet.engine.evaluate_exported import detect
from ghostdet.engine.report import DETECTIONS, Report, detections_file, write_report
from ghostdet.engine.runner import DetectionRunner, read_checkpoint
from ghostdet.engine.weights import drop_weights, ensure_weights
from ghostdet.errors import UserError
from ghostdet.evaluation.expected import expected_of
from ghostdet.evaluation.metrics import choose_metric, is_fast
from ghostdet.files import make_folder
from ghostdet.messages import say
from ghostdet.runtime.sessions import is_exported
from ghostdet.weights.checkpoint_file import trusting
from ghostdet.weights.source import split_options


def train(options: argparse.Namespace) -> Report | None:
    """Train as `tools/train.py` asks; returns the last evaluation's report, or None in a process that does not report.

    Raises:
        UserError: something is missing or wrong; nothing has been run then.
    """
    cfg = _configure(options)
    if options.amp:
        _use_amp(cfg)
    _check_data(cfg, options, ('train', 'val'))
    with trusting(options.trust_checkpoint):
        _choose_start(cfg, options)
        runner = _runner(cfg)
        runner.train()
    return _report(cfg, 'val', curves=True)


def test(options: argparse.Namespace) -> Report | None:
    """Evaluate a checkpoint or an exported file as `tools/test.py` asks; returns the report, None in processes without one.

    Raises:
        UserError: something is missing or wrong.
    """
    cfg = _configure(options, below='test')
    expected = expected_of(cfg) if options.check_expected else None
    _check_exists(options.checkpoint)
    _check_data(cfg, options, ('test',))
    (detect if is_exported(options.checkpoint) else _test_checkpoint)(cfg, options)
    report = _report(cfg, 'test', curves=False)
    return report and replace(report, expected=expected)


def _test_checkpoint(cfg: Config, options: argparse.Namespace) -> None:
    if options.precision != 'fp32':
        raise UserError(f'--precision {options.precision} is for exported files: a checkpoint is evaluated in fp32')
    cfg.load_from, cfg.resume = options.checkpoint, False
    drop_weights(cfg)
    if options.show_dir:
        cfg.default_hooks.visualization.update(draw=True, test_out_dir=str(options.show_dir.absolute()))
    runner = _runner(cfg)
    runner.optimized = options.optimize
    with trusting(options.trust_checkpoint):
        runner.test()


# ----------------------------------------------------------------------------------------------------- before the run

def _configure(options: argparse.Namespace, below: str = '') -> Config:
    cfg = read_config(options.config, options.cfg_options)
    place(cfg, options, below)
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
        say('tensorboard is not installed, so the run keeps no log for it: pip install tensorboard')
    return cfg


def _runner(cfg: Config) -> DetectionRunner:
    """The run itself; what an earlier one in the same folder detected must not pass for its result."""
    say(f'nms and other operators: {ops.origin()}')
    if not cfg.resume:
        detections_file(Path(cfg.work_dir)).unlink(missing_ok=True)
    return DetectionRunner.from_cfg(cfg)


def _use_amp(cfg: Config) -> None:
    if not torch.cuda.is_available():
        raise UserError('--amp needs a CUDA GPU, and torch sees none here: leave it out to train in float32')
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')


def _check_data(cfg: Config, options: argparse.Namespace, names: tuple[str, ...]) -> None:
    """Check the splits `names`, those on the command line if any, and say what they hold."""
    named = {key: getattr(options, key) for key in ('train_ann', 'train_img', 'val_ann', 'val_img')}
    replace = options.data_root is not None or any(named.values())
    splits = find_splits(options.data_root, **named) if replace else configured_splits(cfg, names)
    if replace and 'val' not in splits:
        splits['val'] = Split('val', splits['train'].annotations, splits['train'].images)
        say('\nATTENTION: there is no val split (no annotations/instances_val2017.json, no --val-ann), so this run evaluates on '
            'its own TRAINING images. The AP tells whether it learns, not how good it is.\n')
    chosen = {name: splits[name if name in splits else 'val'] for name in names}  # a test takes the val split
    for checked in prepare_datasets(cfg, chosen, replace, options.skip_bad, Path(cfg.work_dir)):
        say(checked.summary())
        if checked.changed:
            say(f'  the run uses {Path(cfg.work_dir) / "annotations"}/{checked.split.name}.json; what is not in it is listed in '
                f'{checked.split.name}_left_out.json beside it')


def _choose_start(cfg: Config, options: argparse.Namespace) -> None:
    """Decide what the run starts from: its own checkpoint, another detector, published weights, or nothing."""
    if options.resume and resume(cfg, options.resume):
        return
    cfg.resume = False
    if options.load_from:
        _check_exists(options.load_from)
        cfg.load_from = options.load_from
    elif options.from_scratch:
        cfg.load_from = None
        say('; '.join(['--from-scratch', *drop_weights(cfg)]))
    elif not cfg.get('load_from'):
        for note in ensure_weights(cfg, '; or start from a detector with --load-from; or train without them: --from-scratch'):
            say(note)


def place(cfg: Config, options: argparse.Namespace, below: str = '') -> None:
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
    if options.launcher != 'none' and not torch.cuda.is_available():
        _join_on_cpus(cfg, options.launcher)
    cfg.work_dir = str(options.work_dir or Path(cfg.get('work_dir') or Path('work_dirs') / Path(options.config).stem) / below)
    make_folder(Path(cfg.work_dir), '--work-dir')
    if (cfg.get('randomness') or {}).get('seed') is None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': 0}


def _join_on_cpus(cfg: Config, launcher: str) -> None:
    """Processes on CPUs talk through gloo; mmengine's own launchers and wrapper take a GPU for granted.

    Raises:
        UserError: the launcher is not torchrun.
    """
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
            say(f'--resume: {message}')
        if file is None:
            earlier = sorted(file.name for file in Path(cfg.work_dir).glob('epoch_*.pth'))
            say(f'--resume: there is no checkpoint in {cfg.work_dir} yet, so the run starts anew' + (
                f'; {", ".join(earlier)} there are of a run before the last: to go on with it, name the file' if earlier else ''))
            return False
        choice = str(file)
    _check_exists(choice)
    content = read_checkpoint(choice)
    check_run_state(content, choice)
    cfg.load_from, cfg.resume = choice, True
    say(f'going on from {choice}')
    seed = content['meta'].get('seed')
    if seed is not None and seed != cfg.randomness.seed:
        say(f'its seed, {seed}, replaces the config\'s, {cfg.randomness.seed}')
        cfg.randomness.seed = seed
    return True


def _check_exists(checkpoint: str) -> None:
    file = split_options(checkpoint)[0]
    if '://' not in file and not Path(file).is_file():
        raise UserError(f'there is no checkpoint {Path(file).absolute()}')


# ------------------------------------------------------------------------------------------------------ after the run

def _report(cfg: Config, name: str, curves: bool) -> Report | None:
    if get_rank():
        return None
    return write_report(Path(cfg.work_dir), split_of(cfg, name), classes_of(cfg, name), curves, is_fast(cfg[EVALUATORS[name]]))
