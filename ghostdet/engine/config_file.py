"""Reads config files."""
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ghostdet.errors import UserError, reason
from ghostdet.packaged_configs import find_config


def read_program(file: str, options: Mapping[str, Any]) -> Config:
    """Read the config `file`, a path or a name in the package, and merge `options` into it.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    path = find_config(file)
    try:
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(dict(options))
    except Exception as error:  # a config is a program and can raise anything
        raise UserError(f'the config {file} with --cfg-options {options} cannot be read ({reason(error)})') from error
    return cfg


def read_config(file: str, options: Mapping[str, Any]) -> Config:
    """Read the config `file` of a detector, a path or a name in the package, and merge `options` into it.

    Raises:
        UserError: there is no such file, it cannot be read, or the config is incomplete.
    """
    cfg = read_program(file, options)
    missing = [key for key in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader') if not cfg.get(key)]
    if missing:
        raise UserError(f'the config {file} is incomplete: it has no {", ".join(missing)}')
    return cfg
