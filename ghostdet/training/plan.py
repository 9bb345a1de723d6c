"""Decides all that a run does, before it starts: `RunPlan` holds the config as it is printed, saved and run.

A config as people write it names mmdet's and mmengine's own parts, so that their tools can use it. A plan replaces them
by ours, and sets everything that the options and the data decide. Nothing changes the config after that, so training
from the saved config repeats the run.
"""
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import count
from math import inf
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size

from ghostdet.data.checked import Checked
from ghostdet.data.copies import shared_images
from ghostdet.data.depth import depth_of
from ghostdet.data.loading import own_pipeline, own_reading
from ghostdet.data.sources import Source, check_val_fraction, crowds_as_objects, find_sources, read_source
from ghostdet.download import DownloadError, shown
from ghostdet.errors import UserError, has_own_message, reason
from ghostdet.evaluation.expected import Expected, expected_of
from ghostdet.evaluation.metrics import choose_metric
from ghostdet.files import make_folder
from ghostdet.images.decode import check_bits
from ghostdet.messages import LOGGER, keep_messages
from ghostdet.options import DEFAULT_THRESHOLD, DetectionOptions, EvaluationOptions, RunOptions, TrainOptions
from ghostdet.packaged_configs import config_name
from ghostdet.training.checkpoints import check_run_state, checkpoint_of, find_checkpoint
from ghostdet.training.config_file import check_complete, read_config
from ghostdet.training.datasets import (
    EVALUATORS,
    LOADERS,
    configured_splits,
    heads,
    ignore_orientation,
    later_pipelines,
    prepare_datasets,
    reads_upright,
)
from ghostdet.training.image_scale import set_scale
from ghostdet.training.initial_weights import drop_weights, ensure_weights, pretrained_parts, without_pretrained
from ghostdet.training.launcher import join
from ghostdet.training.max_objects import set_max_objects
from ghostdet.training.report import DETECTIONS
from ghostdet.training.resumed_config import config_in, follow_config
from ghostdet.training.schedule import fit_schedule
from ghostdet.training.training_data import fit_to_data, many_objects, trained_images
from ghostdet.weights.fitting import read_checkpoint
from ghostdet.weights.reader import locate, split_options
from ghostdet.weights.schemes import safe_loading

PROGRESS = dict(progress=dict(type='ProgressBarHook'))  # a default hook of every run
DEFAULT = 'nanodet-plus_shufflenetv2_1.0x_finetune'  # the config of a run that names its data alone
RUNS = count(1)  # numbers the runs of this process


@dataclass(frozen=True)
class RunPlan:
    """What a run does.

    Attributes:
        cfg: the config as it is printed, saved and run.
        checked: the splits that the run reads.
        expected: the AP to compare with; None: none.
        resume_from: the checkpoint that the run continues from; None: it starts from the beginning. It is not in the
            config, which repeats the whole run.
    """

    cfg: Config
    checked: tuple[Checked, ...]
    expected: Expected | None
    resume_from: str | None = None


def plan_training(options: TrainOptions) -> RunPlan:
    """Decide how to train a detector.

    Raises:
        UserError: something is missing or wrong.
    """
    if options.from_scratch and (options.load_from or options.freeze):
        raise UserError(f'{"--load-from" if options.load_from else "--freeze"} and --from-scratch exclude each other: '
                        'choose one')
    if options.minutes is not None and not 0 < options.minutes < inf:
        raise UserError(f'--minutes {options.minutes:g}: expected a number above 0')
    options = _with_config(options)
    cfg = read_config(options.config or '', options.cfg_options)
    _configure(cfg, options)
    expected = expected_of(cfg) if options.check_expected else None
    if options.amp:
        _use_amp(cfg)
    if options.freeze:
        cfg.frozen = [options.freeze]
        LOGGER.info(f'frozen: {options.freeze}')
    if options.patience:
        _use_patience(cfg, options.patience)
    checked = _use_data(cfg, options, ('train', 'val'))
    cfg.counts = {split.split.name: [len(split.content['images']), len(split.content['annotations'])]
                  for split in checked}  # a resumed run compares them
    with safe_loading(options.trust_checkpoint):
        resume_from, meta = resume(cfg, options.resume)
        _choose_start(cfg, options, bool(resume_from))
    with setting_up():
        complete(cfg)
        fit_schedule(cfg, trained_images(cfg, checked[0]), options, config_in(meta))
        follow_config(cfg, meta)
    return RunPlan(cfg, tuple(checked), expected, resume_from)


def _with_config(options: TrainOptions) -> TrainOptions:
    """Choose the config and the work directory of a run that names its data alone.

    Raises:
        UserError: it names no data either.
    """
    if options.config:
        return options
    data = options.data_root or options.train_ann
    if data is None:
        raise UserError('name your data with --data-root DIR, or a config; "ghostdet configs" lists them')
    folder = Path('work_dirs') / Path(data).resolve().name.removesuffix('.json')
    return replace(options, config=DEFAULT, work_dir=options.work_dir or folder)


def plan_evaluation(cfg: Config, options: EvaluationOptions, learned: Sequence[str] | None = None,
                    threshold: float = DEFAULT_THRESHOLD) -> RunPlan:
    """Decide how to evaluate a checkpoint or an exported file by the config `cfg`, which is changed in place.

    Args:
        learned: the classes of a checkpoint, for its heads; None: unknown, and the heads get those of the data.
        threshold: score of the boxes that are drawn.

    Raises:
        UserError: something is missing or wrong.
    """
    check_complete(cfg, str(cfg.filename))
    _configure(cfg, options, f'test_{options.data_root.resolve().name}' if options.data_root else 'test')
    expected = expected_of(cfg) if options.check_expected else None
    checked = _use_data(cfg, options, ('test',))
    for head in heads(cfg.model) if learned else ():
        head['num_classes'] = len(learned or ())
    cfg.load_from, cfg.resume = options.checkpoint, False
    drop_weights(cfg)
    cfg.default_hooks = {**PROGRESS, **(cfg.get('default_hooks') or {})}
    if options.show_dir:
        cfg.default_hooks.visualization = dict(type='DetVisualizationHook', draw=True, score_thr=threshold,
                                               test_out_dir=str(options.show_dir.absolute()))
    _own_loader(cfg, 'test')
    return RunPlan(cfg, tuple(checked), expected)


def _configure(cfg: Config, options: DetectionOptions, below: str = '') -> None:
    prepare_run(cfg, options, below)
    for name in EVALUATORS.values():
        evaluator = cfg.get(name)
        choose_metric(evaluator, name, options.fast_eval)
        evaluator['outfile_prefix'] = str(Path(cfg.work_dir) / DETECTIONS)
        evaluator['collect_device'] = 'gpu' if options.launcher != 'none' else 'cpu'  # 'gpu' needs no shared folder
    if options.scale is not None:
        set_scale(cfg, options.scale)
    if options.max_objects is not None:
        set_max_objects(cfg, options.max_objects)
    if cfg.get('visualizer'):
        cfg.visualizer.pop('name', None)  # mmengine reuses a visualizer of the same name, and its folder
        if find_spec('tensorboard') is None:
            backends = cfg.visualizer.get('vis_backends') or []
            cfg.visualizer.vis_backends = [one for one in backends if one.type != 'TensorboardVisBackend']
            LOGGER.info('tensorboard is not installed, so the run writes no TensorBoard log: pip install tensorboard')


def prepare_run(cfg: Config, options: RunOptions, below: str = '') -> None:
    """Connect the processes; set the work directory, a name and a seed in the config.

    Without a seed, mmengine would draw one at each start.

    Args:
        below: folder within the config's work directory.

    Raises:
        UserError: the process was not started by the launcher, or the directory cannot be made.
    """
    keep_messages()
    join(cfg, options.launcher)
    LOGGER.info(f'config: {cfg.filename}')
    name = config_name(str(cfg.filename))
    cfg.work_dir = str(options.work_dir or Path(cfg.get('work_dir') or Path('work_dirs') / name) / below)
    make_folder(Path(cfg.work_dir), '--work-dir')
    # mmengine's runs of one name that start in the same second share their log and TensorBoard files.
    if re.fullmatch(rf'({re.escape(name)}_\d+)?', str(cfg.get('experiment_name') or '')):
        cfg.experiment_name = f'{name}_{next(RUNS)}'
    if (cfg.get('randomness') or {}).get('seed') is None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': 0}


@contextmanager
def setting_up() -> Iterator[None]:
    """Turn any error within the context into a UserError: a config is a program and can raise anything.

    Raises:
        UserError: an error occurred.
    """
    try:
        yield
    except Exception as error:
        if has_own_message(error):
            raise
        raise UserError(f'the run cannot be set up ({reason(error)}): check the config') from error


def _use_amp(cfg: Config) -> None:
    if not torch.cuda.is_available():
        raise UserError('--amp needs a CUDA GPU, but torch finds none: leave out --amp to train in float32')
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')


def _use_patience(cfg: Config, patience: int) -> None:
    if patience < 0:
        raise UserError(f'--patience {patience}: expected a number of evaluations, or 0 to train to the end')
    others = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] != 'PatienceHook']
    cfg.custom_hooks = [*others, dict(type='PatienceHook', patience=patience)]


# ------------------------------------------------------------------------------------------------------------ the data

def _use_data(cfg: Config, options: DetectionOptions, names: tuple[str, ...]) -> list[Checked]:
    """Check the data of the loaders `names`, set it in `cfg`, log what it contains, and return it.

    Data that the options name replaces that of the config. A test reads the val split. If the options name data
    without a val split, the train split is read instead, with a warning.

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
    sources = _sources(cfg, options, names) if replaces else {
        name: read_source(split, reads_upright(cfg, name)) for name, split in configured_splits(cfg, names).items()}
    if options.crowds_are_objects:
        sources = {name: crowds_as_objects(source) for name, source in sources.items()}
    checked = prepare_datasets(cfg, sources, replaces, options.skip_bad, folder, options.val_fraction)
    check_bits(options.bits)
    bits = options.bits or cfg.get('bits')
    if isinstance(options, TrainOptions):
        bits = depth_of(checked, bits)
        with setting_up():
            checked[0].notes += fit_to_data(cfg, checked[0], options.keep_empty)
            for split in checked:
                split.notes += many_objects(cfg, split)
        checked[1].notes += shared_images(*checked)
    if bits:
        cfg.bits = bits
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


# ----------------------------------------------------------------------------------------------------------- the start

def _choose_start(cfg: Config, options: TrainOptions, resumes: bool) -> None:
    """Set what the run starts, or once started, from: another detector, published weights, or random weights.

    Raises:
        UserError: the file cannot be read or does not fit.
    """
    cfg.resume = False
    if options.from_scratch:
        cfg.load_from = None
        changes = drop_weights(cfg)
        if not resumes:
            LOGGER.info('; '.join(['--from-scratch', *changes]))
    start = options.load_from or cfg.get('load_from')
    if start:
        cfg.load_from = start if resumes else start_of(start)
        for part in list(pretrained_parts(cfg.model)):  # a checkpoint replaces published weights
            part['init_cfg'] = without_pretrained(part['init_cfg'])
    elif not resumes and not options.from_scratch:
        ensure_weights(cfg, '; or start from a detector with --load-from; or train without them: --from-scratch')


def resume(cfg: Config, choice: bool | str) -> tuple[str | None, dict]:
    """Return the checkpoint to resume from and its `meta`; None and {} if the run has no checkpoint yet.

    Sets the seed of the checkpoint in the config: the data loaders need it before the checkpoint is loaded.

    Args:
        choice: a checkpoint file; True or 'auto': the last one in the work directory; False: none.

    Raises:
        UserError: the checkpoint cannot be read, or a run cannot continue from it.
    """
    if not choice:
        return None, {}
    if choice in (True, 'auto'):
        file, damaged = find_checkpoint(Path(cfg.work_dir))
        for message in damaged:
            LOGGER.info(f'--resume: {message}')
        if file is None:
            earlier = sorted(file.name for file in Path(cfg.work_dir).glob('epoch_*.pth'))
            LOGGER.info(f'--resume: no checkpoint in {cfg.work_dir} yet, so the run starts from the beginning' + (
                f'; {", ".join(earlier)} are from an earlier run: to continue that one, name the file'
                if earlier else ''))
            return None, {}
        choice = str(file)
    choice = checkpoint_of(str(choice))
    content = read_checkpoint(choice)
    check_run_state(content, str(choice))
    LOGGER.info(f'continuing from {choice}')
    seed = content['meta'].get('seed')
    if seed is not None and seed != cfg.randomness.seed:
        LOGGER.info(f'using the seed of the checkpoint, {seed}, not that of the config, {cfg.randomness.seed}')
        cfg.randomness.seed = seed
    return str(choice), content['meta']


def start_of(checkpoint: str) -> str:
    """Return the detector that a run starts from; download it if it has to be.

    Raises:
        UserError: it is not there, or cannot be downloaded.
    """
    checkpoint = checkpoint_of(checkpoint)
    if '://' not in checkpoint:
        return str(Path(checkpoint).expanduser().absolute())
    try:
        locate(split_options(checkpoint)[0])
    except DownloadError as error:
        raise UserError(f'the run starts from {shown(checkpoint)}, but {error}; or train without it: '
                        '--from-scratch') from error
    return checkpoint


# ----------------------------------------------------------------------------------------------------------- our parts

def complete(cfg: Config) -> None:
    """Replace parts of mmengine and mmdet by ours in a config for training, and scale the learning rate.

    - A loop by epochs becomes a ResumableTrainLoop, so that a resumed run continues bit for bit.
    - CheckpointHook becomes WholeCheckpointHook, which writes files atomically. A LossCheckHook stops a run whose loss
      is NaN or infinite.
    - Transforms that load images become ours, which refuse incomplete files and are faster. The test pipeline, which
      does not run here, stays: mmdet's own clients look for its transforms in a checkpoint.
    - New workers start each epoch, so that their random numbers do not depend on earlier epochs.
    """
    loop = cfg.train_cfg
    if loop.get('type') == 'EpochBasedTrainLoop' or loop.get('by_epoch'):
        loop.pop('by_epoch', None)
        loop.type = 'ResumableTrainLoop'
    hooks = dict(loss_check=dict(type='LossCheckHook'), checkpoint=dict(type='CheckpointHook', interval=1))
    cfg.default_hooks = {**hooks, **PROGRESS, **(cfg.get('default_hooks') or {})}
    checkpoint = cfg.default_hooks.checkpoint
    if checkpoint and checkpoint.get('type') == 'CheckpointHook':
        checkpoint.type = 'WholeCheckpointHook'
    for name in ('train', 'val'):
        _own_loader(cfg, name)
    for hook in later_pipelines(cfg):
        hook['switch_pipeline'] = own_pipeline(hook['switch_pipeline'], cfg.get('bits'))
    _scale_learning_rate(cfg)


def _own_loader(cfg: Config, name: str) -> None:
    loader = cfg.get(LOADERS[name])
    if loader:
        loader.update(worker_init_fn=dict(type='start_worker'), persistent_workers=False)
        loader.dataset = ConfigDict(own_reading(loader.dataset, cfg.get('bits')))


def _scale_learning_rate(cfg: Config) -> None:
    """Scale the learning rate to the global batch: processes x images per process x accumulated steps.

    The config then has the scaled rate and its batch, so that the same config and batch give the same rate again.
    """
    scaling, optimizer = cfg.get('auto_scale_lr') or {}, cfg.optim_wrapper.get('optimizer') or {}
    if not scaling.get('enable') or 'lr' not in optimizer:
        return
    images, accumulated = cfg[LOADERS['train']].batch_size, cfg.optim_wrapper.get('accumulative_counts', 1)
    batch, base = get_world_size() * images * accumulated, scaling['base_batch_size']
    rate = optimizer['lr'] * (batch / base)
    if rate != optimizer['lr']:
        LOGGER.info(f'learning rate {optimizer["lr"]:g} -> {rate:g}: the config\'s is for {base} images per step, but '
                    f'a step has {batch} here ({get_world_size()} processes x {images} images x {accumulated} '
                    'iterations)')
    else:
        LOGGER.info(f'learning rate {rate:g}, for {batch} images per step')
    optimizer['lr'], scaling['base_batch_size'] = rate, batch
