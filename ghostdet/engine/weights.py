"""A config's initial weights: looked for before a run starts, or done without on request."""
import re
from collections.abc import Iterator
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader

from ghostdet.errors import UserError, reason
from ghostdet.weights.checkpoint_file import UnsafeFileError


def entries(init_cfg: Any) -> list[dict]:
    """`init_cfg` as a list; it may be one dict, several, or none."""
    return list(init_cfg) if isinstance(init_cfg, (list, tuple)) else [init_cfg] if init_cfg else []


def without_pretrained(init_cfg: Any) -> list[dict] | None:
    """`init_cfg` without the entries that read a file; None where nothing is left."""
    return [entry for entry in entries(init_cfg) if entry['type'] != 'Pretrained'] or None


def pretrained_parts(node: Any) -> Iterator[dict]:
    """The dicts in `node`, a model's config, whose `init_cfg` reads a file."""
    if isinstance(node, dict):
        if any(entry['type'] == 'Pretrained' for entry in entries(node.get('init_cfg'))):
            yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from pretrained_parts(child)


def ensure_weights(cfg: Config) -> None:
    """Read every file of initial weights once, fetching it into torch's cache where it is a URL.

    Raises:
        UserError: one cannot be had; the message names it and the ways on.
    """
    for part in pretrained_parts(cfg.model):
        for name in (entry['checkpoint'] for entry in entries(part['init_cfg']) if entry['type'] == 'Pretrained'):
            try:
                content = CheckpointLoader.load_checkpoint(name, 'cpu')
            except UnsafeFileError:
                raise
            except Exception as error:  # a missing file, the network, a format: each has its own kinds
                raise UserError(
                    f'the initial weights of the {part["type"]}, {name}, cannot be had '
                    f'({error if isinstance(error, UserError) else reason(error)}). Place the file there; or name another with '
                    '--cfg-options model.backbone.init_cfg.checkpoint=FILE; or start from a detector with --load-from; or '
                    'train without them: --from-scratch') from error
            if part['type'] == 'GhostNet':
                _check_coverage(part, content, name)


def drop_weights(cfg: Config) -> list[str]:
    """Make the config start from random weights; returns what was changed.

    Statistics of batch norm that are fixed or frozen come with the weights: without weights they have to be learned.
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


def _check_coverage(part: dict, content: Any, name: str) -> None:
    """Refuse a file that lacks a tensor: mmengine would load what fits, and train the rest from random values."""
    own = MODELS.build({**part, 'init_cfg': None}).state_dict()
    given = content.get('state_dict', content) if isinstance(content, dict) else {}
    shapes = {re.sub(r'^module\.', '', str(key)): tuple(getattr(value, 'shape', ())) for key, value in given.items()}
    missing = [f'{key} {tuple(value.shape)}' for key, value in own.items()
               if not key.endswith('num_batches_tracked') and shapes.get(key) != tuple(value.shape)]
    if missing:
        raise UserError(f'the initial weights {name} do not fit the GhostNet of the config: {len(missing)} of its tensors are '
                        f'missing or have another shape, as {", ".join(missing[:4])}. The keys have to be those of the official '
                        'weights, and the width the config\'s')
