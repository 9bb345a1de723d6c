"""What the tools' command lines have in common."""
import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from ghostdet.errors import UserError, reason


class Options(DictAction):
    """mmengine's KEY=VALUE pairs; what is none is told as other wrong arguments are."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *others: Any) -> None:
        """Take the pairs in."""
        odd = [pair for pair in values if '=' not in pair]
        if odd:
            raise argparse.ArgumentError(self, f'it takes KEY=VALUE, and {" ".join(odd)} is none')
        super().__call__(parser, namespace, values, *others)


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that all tools which run a config share."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument('config', help='config file')
    made.add_argument('--work-dir', type=Path, help='folder for logs and results; default ./work_dirs/CONFIG')
    made.add_argument('--cfg-options', nargs='+', action=Options, default={}, metavar='KEY=VALUE',
                      help='settings that replace those of the config, as optim_wrapper.optimizer.lr=0.01')
    made.add_argument('--fast-eval', action='store_true',
                      help='evaluate by faster-coco-eval, which has to be installed: the same numbers in less time')
    made.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='job launcher')
    made.add_argument('--trust-checkpoint', action='store_true',
                      help='open checkpoint files that hold more than data, which lets them run any program with your rights')
    data = made.add_argument_group('other data in COCO\'s format; classes come from its annotation files')
    data.add_argument('--data-root', type=Path, help='folder with annotations/instances_{train,val}2017.json, {train,val}2017/')
    for name in ('train', 'val'):
        data.add_argument(f'--{name}-ann', metavar='FILE', help=f'annotation file of the {name} split')
        data.add_argument(f'--{name}-img', metavar='DIR', help=f'image folder of the {name} split')
    data.add_argument('--skip-bad', action='store_true', help='leave records out that are wrong, instead of stopping')
    return made


def read_program(file: str, options: dict) -> Config:
    """The config in `file` with `options` merged in.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    if not Path(file).is_file():
        raise UserError(f'there is no config {Path(file).absolute()}')
    try:
        cfg = Config.fromfile(file)
        cfg.merge_from_dict(options)
    except Exception as error:  # a config is a program, which fails in its own ways
        raise UserError(f'the config {file} with --cfg-options {options} cannot be read ({reason(error)})') from error
    return cfg


def read_config(file: str, options: dict) -> Config:
    """A detector's config, with `options` merged in.

    Raises:
        UserError: there is no such file, it cannot be read, or it is only a part of a config.
    """
    cfg = read_program(file, options)
    lacking = [key for key in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader') if key not in cfg]
    if lacking:
        raise UserError(f'the config {file} is not a whole one: it has no {", ".join(lacking)}')
    return cfg
