"""Reads config files."""
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ghostdet.errors import UserError, reason
from ghostdet.packaged_configs import find_config

# packages whose classes are found by their names
NAMED = ('ghostdet', 'mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'torch')
OWN = ('custom_imports', 'expected')  # keys that a config may have beside the runner's


def read_program(file: str, options: Mapping[str, Any]) -> Config:
    """Read the config `file`, a path or a name in the package, and merge `options` into it.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    path = find_config(file)
    try:
        cfg = Config.fromfile(path)
        merge(cfg, options)
    except UserError:
        raise
    except Exception as error:  # a config is a program and can raise anything
        first: BaseException = error
        while first.__cause__ or first.__context__:
            first = first.__cause__ or first.__context__ or first
        raise UserError(f'the config {file} with --cfg-options {options} cannot be read ({reason(error)}'
                        + (f', because of {reason(first)}' if first is not error else '') + ')') from error
    return cfg


def merge(cfg: Config, options: Mapping[str, Any]) -> None:
    """Merge settings into a config, and write types of known packages as plain names.

    Raises:
        UserError: a setting has a first name that neither the config nor mmengine's runner has.
    """
    known = {*cfg, *signature(Runner).parameters, *OWN}
    for key in options:
        first = key.partition('.')[0]
        if first not in known:
            similar = get_close_matches(first, known, n=3)
            raise UserError(f'--cfg-options {key}: the config has no {first}' + (
                f'; similar names: {", ".join(similar)}' if similar else f'; it has {", ".join(cfg)}'))
    cfg.merge_from_dict(dict(options))
    for part in parts(cfg.values()):
        kind = part.get('type')
        if isinstance(kind, type) and kind.__module__.partition('.')[0] in NAMED:
            part['type'] = kind.__name__  # as in configs without imports
        elif isinstance(kind, str) and cfg.get('default_scope', 'mmdet') == 'mmdet':
            part['type'] = re.sub(r'^mmdet\.(\w+)$', r'\1', kind)  # the same name, without its scope


def parts(node: Any) -> Iterator[dict]:
    """Yield all dicts in a config or a part of it, outer ones first."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, (dict, list, tuple)):
            yield from parts(child)


def read_config(file: str, options: Mapping[str, Any]) -> Config:
    """Read the config `file` of a detector, a path or a name in the package, and merge `options` into it.

    Raises:
        UserError: there is no such file, it cannot be read, or the config is incomplete.
    """
    cfg = read_program(file, options)
    check_complete(cfg, file)
    return cfg


def check_complete(cfg: Config, name: str) -> None:
    """Check that the config of a detector has a model and data.

    Raises:
        UserError: a part is missing.
    """
    missing = [key for key in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader') if not cfg.get(key)]
    if missing:
        raise UserError(f'the config {name} is incomplete: it has no {", ".join(missing)}')
