"""Trains a classifier for a detector's initial weights, on ImageNet or a folder in the same layout."""
from pathlib import Path

from mmengine.config import Config

from ghostdet.data.shapes import FolderSet
from ghostdet.errors import DataError
from ghostdet.options import PretrainOptions
from ghostdet.training.config_file import read_program
from ghostdet.training.initial_weights import ensure_weights
from ghostdet.training.plan import complete, prepare_run, resume
from ghostdet.training.resumed_config import follow_config
from ghostdet.training.runner import DetectionRunner
from ghostdet.weights.schemes import safe_loading


def pretrain(options: PretrainOptions) -> dict[str, float]:
    """Train a classifier.

    Returns:
        The best accuracies in per cent, by name; empty in all processes but the first.

    Raises:
        UserError: something is missing or wrong.
    """
    cfg = read_program(options.config, options.cfg_options)
    prepare_run(cfg, options)
    cfg.val_evaluator.collect_device = 'gpu' if options.launcher != 'none' else 'cpu'  # 'gpu' needs no shared folder
    if cfg.get('shapes_folder') and not options.data_root:
        FolderSet(**cfg.shapes_folder).write(Path(cfg.data_root))
    _use_data(cfg, options.data_root or Path(cfg.data_root))
    with safe_loading(options.trust_checkpoint):
        (resume_from, meta), cfg.resume = resume(cfg, options.resume), False
        if not resume_from and not cfg.get('load_from'):
            ensure_weights(cfg)
        complete(cfg)
        follow_config(cfg, meta)
        runner = DetectionRunner.from_cfg(cfg)
        if resume_from:
            runner.continue_from(resume_from)
        runner.train()
    scores = {key: float(value) for key, value in runner.message_hub.runtime_info.items()
              if key.startswith('best_score')}
    return scores if runner.rank == 0 else {}


def _use_data(cfg: Config, root: Path) -> None:
    """Set data and number of classes in the config from a folder with train/CLASS/* and val/CLASS/*.

    Raises:
        DataError: a split has no class folders, or the splits have different classes.
    """
    classes = {split: sorted(path.name for path in (root / split).glob('*') if path.is_dir())
               for split in ('train', 'val')}
    for split, names in classes.items():
        if not names:
            raise DataError(f'{root.absolute() / split} has no class folders (expected one folder of images for each '
                            'class): name another folder with --data-root')
    if classes['train'] != classes['val']:
        odd = sorted(set(classes['train']) ^ set(classes['val']))
        raise DataError(f'{root.absolute()}: train and val have different classes; only one of them has '
                        f'{", ".join(odd[:6])}')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = f'{root}/'
        loader.dataset.classes = classes['train']
    cfg.model.head.num_classes = cfg.data_preprocessor.num_classes = len(classes['train'])
    if len(classes['train']) < 5:
        cfg.val_evaluator.topk = (1,)
