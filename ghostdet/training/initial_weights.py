"""Checks the initial weights of a config before a run starts, or removes them."""
from collections.abc import Iterator
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config

from ghostdet.download import DownloadError, shown
from ghostdet.errors import PackageError, UserError, reason
from ghostdet.messages import LOGGER
from ghostdet.models.family import GhostFamily, reads_file
from ghostdet.training.config_file import parts
from ghostdet.weights.checkpoint_file import DamagedFileError, UnsafeFileError
from ghostdet.weights.initializer import load_into
from ghostdet.weights.schemes import load


def entries(init_cfg: Any) -> list[dict]:
    """Return `init_cfg`, which may be one dict, several, or none, as a list."""
    return list(init_cfg) if isinstance(init_cfg, (list, tuple)) else [init_cfg] if init_cfg else []


def without_pretrained(init_cfg: Any) -> list[dict] | None:
    """Return `init_cfg` without the entries that read a file; None if none is left."""
    return [{**entry, 'override': without_pretrained(entry['override'])} if entry.get('override') else entry
            for entry in entries(init_cfg) if not reads_file(entry)] or None


def pretrained_parts(node: Any) -> Iterator[dict]:
    """Yield the dicts in `node`, a model's config, whose `init_cfg` reads a file."""
    for part in parts(node):
        if any(reads_file(one) for entry in entries(part.get('init_cfg'))
               for one in (entry, *entries(entry.get('override')))):
            yield part


def ensure_weights(cfg: Config, ways: str = '') -> None:
    """Read every file of initial weights once, and log what it loads; download what is missing.

    Args:
        ways: more options for the user, appended to the error message.

    Raises:
        UserError: a file cannot be read or downloaded, or does not fit its part of the model; the message lists the
            options.
    """
    for part in pretrained_parts(cfg.model):
        for entry in (entry for entry in entries(part['init_cfg']) if reads_file(entry)):
            try:
                LOGGER.info(_try(part, entry))
            except (UnsafeFileError, PackageError):
                raise
            except Exception as error:  # a missing file, the network, a format: each has its own errors
                there = isinstance(error, UserError) and not isinstance(error, (DownloadError, DamagedFileError))
                lack, cure = (('used', 'Name another') if there
                              else ('read or downloaded', 'Put the file there, or name another'))
                raise UserError(
                    f'the initial weights of the {part["type"]}, {shown(str(entry.get("checkpoint")))}, cannot be '
                    f'{lack} ({error if isinstance(error, UserError) else reason(error)}). {cure} with --cfg-options '
                    f'model.backbone.init_cfg.checkpoint=FILE{ways}') from error


def _try(part: dict, entry: dict) -> str:
    complete = 'CompletePretrained' in str(entry['type'])
    kind = MODELS.get(part['type'])
    if not complete and not (isinstance(kind, type) and issubclass(kind, GhostFamily)):
        load(entry['checkpoint'])
        return f'{part["type"]}: {shown(entry["checkpoint"])} is there'
    return load_into(MODELS.build({**part, 'init_cfg': None}), entry['checkpoint'], entry.get('prefix')).to_text()


def drop_weights(cfg: Config) -> list[str]:
    """Make the config start from random weights; return the changes as text.

    Also unfreezes frozen stages and batch norm statistics: without loaded weights they must be trained.
    """
    changes = []
    for part in list(pretrained_parts(cfg.model)):
        part['init_cfg'] = without_pretrained(part['init_cfg'])
        changes.append(f'{part["type"]} starts from random weights')
        for key, free in (('norm_eval', False), ('frozen_stages', -1)):
            if part.get(key, free) != free:
                part[key] = free
                changes.append(f'{part["type"]} {key}={free}')
    return changes
