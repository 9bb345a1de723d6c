"""Reads config files."""
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from ghostdet.errors import UserError, reason
from ghostdet.packaged_configs import find_config

# packages whose classes are found by their names
NAMED = ('ghostdet', 'mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'torch')


def read_program(file: str, options: Mapping[str, Any]) -> Config:
    """Read the config `file`, a path or a name in the package, and merge `options` into it.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    path = find_config(file)
    try:
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(dict(options))
        for part in parts(cfg.values()):
            kind = part.get('type')
            if isinstance(kind, type) and kind.__module__.partition('.')[0] in NAMED:
                part['type'] = kind.__name__  # as in configs without imports
            elif isinstance(kind, str) and cfg.get('default_scope', 'mmdet') == 'mmdet':
                part['type'] = re.sub(r'^mmdet\.(\w+)$', r'\1', kind)  # the same name, without its scope
    except Exception as error:  # a config is a program and can raise anything
        first: BaseException = error
        while first.__cause__ or first.__context__:
            first = first.__cause__ or first.__context__ or first
        raise UserError(f'the config {file} with --cfg-options {options} cannot be read ({reason(error)}'
                        + (f', because of {reason(first)}' if first is not error else '') + ')') from error
    return cfg


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
    missing = [key for key in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader') if not cfg.get(key)]
    if missing:
        raise UserError(f'the config {file} is incomplete: it has no {", ".join(missing)}')
    return cfg
