"""Config files, read."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ghostdet.errors import UserError, reason


def read_program(file: str, options: Mapping[str, Any]) -> Config:
    """The config in `file` with `options` merged in.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    if not Path(file).is_file():
        raise UserError(f'there is no config {Path(file).absolute()}')
    try:
        cfg = Config.fromfile(file)
        cfg.merge_from_dict(dict(options))
    except Exception as error:  # a config is a program, which fails in its own ways
        raise UserError(f'the config {file} with --cfg-options {options} cannot be read ({reason(error)})') from error
    return cfg


def read_config(file: str, options: Mapping[str, Any]) -> Config:
    """A detector's config, with `options` merged in.

    Raises:
        UserError: there is no such file, it cannot be read, or it is only a part of a config.
    """
    cfg = read_program(file, options)
    lacking = [key for key in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader') if key not in cfg]
    if lacking:
        raise UserError(f'the config {file} is not a whole one: it has no {", ".join(lacking)}')
    return cfg
