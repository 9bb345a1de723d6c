"""Initial weights, checked for coverage: a module gets all of its tensors from a file, or none."""
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from ghostdet.download import shown
from ghostdet.messages import shorten
from ghostdet.models.ghostnet import LAST_CONV, GhostNet
from ghostdet.weights.formats import read_file
from ghostdet.weights.layouts import LAYOUTS, State, below, recognise, to_official, unwrap
from ghostdet.weights.source import locate, split_options
from ghostdet.weights.widening import widen

COUNTER = 'num_batches_tracked'  # of a batch norm; no weight, and not in every layout
PROFILER = ('total_ops', 'total_params')  # what thop leaves in every layer of a network that it has counted
OTHER_PARTS = ('head.', 'neck.', 'bbox_head.', 'rpn_head.', 'roi_head.', 'data_preprocessor.')  # beside a backbone


@dataclass(frozen=True)
class Weights:
    """What a file holds: tensors under the official names, and how they were named and wrapped."""

    name: str
    layout: str
    state: State
    shortcut_relu: bool | None = False  # None where the file does not tell


@dataclass(frozen=True)
class Coverage:
    """What a module gets from a file."""

    name: str
    layout: str
    received: int
    wanted: int
    missing: tuple[str, ...]  # tensors of the module, with their shapes and the file's
    alien: tuple[str, ...]  # tensors of the file within the layers of this module, which has no such ones
    spoiled: tuple[str, ...]  # tensors that are wanted and hold NaN or infinity
    unexpected: tuple[str, ...]  # tensors of the file beside them that no GhostNet has
    unused: tuple[str, ...]  # tensors of the file that this module has no place for: the classifier, a later layer

    @property
    def fits(self) -> bool:
        """Whether the module would be the network of the file."""
        return not (self.missing or self.alien or self.spoiled)

    def to_text(self) -> str:
        """For a log, or a message."""
        lists = {'missing or of another shape': self.missing, 'of another network or norm': self.alien,
                 'with values that are not finite': self.spoiled, 'unexpected': self.unexpected}
        text = f'{self.name} ({self.layout}): {self.received} of {self.wanted} tensors'
        text += ''.join(f'; {what}: {shorten(keys)}' for what, keys in lists.items() if keys)
        return text + (f'; {len(self.unused)} not used here, as {", ".join(self.unused[:2])}' if self.unused else '')


def read_weights(checkpoint: str, prefix: str | None = None) -> Weights:
    """Tensors of a file under the official names; with a `prefix`, those below it alone.

    Raises:
        UserError: it cannot be had or read, or is in no layout that is known.
    """
    name, options = split_options(checkpoint)
    content = read_file(locate(name))
    name = shown(name)
    state = below(unwrap(content, name, average='ema' in options), prefix, name, usual='backbone.')
    layout = recognise(state, name)
    relu = _shortcut_relu(content.get('meta')) if layout == 'official' else LAYOUTS[layout].shortcut_relu
    return Weights(name, layout, to_official(state, layout, name), relu)


def _shortcut_relu(meta: Any) -> bool | None:
    """What `tools/weights.py convert` has noted in a file, or the config of a run in its checkpoint; None where neither did."""
    if not isinstance(meta, dict):
        return False  # the authors', timm's
    text = str(meta.get('config_text') or '')
    return meta.get('shortcut_relu', 'shortcut_relu=True' in text if "'GhostNet'" in text or '.GhostNet' in text else None)


def cover(module: nn.Module, weights: Weights) -> Coverage:
    """Compare what `module` wants with what `weights` has."""
    own = module.state_dict()
    wanted = [key for key in own if not key.endswith(COUNTER)]
    missing = [f'{key} {shape_of(own[key])} (the file has {shape_of(weights.state.get(key))})' for key in wanted
               if shape_of(weights.state.get(key)) != shape_of(own[key])]
    left = [key for key in weights.state if key not in own and not key.endswith(PROFILER)]
    known = set(left) if weights.layout not in LAYOUTS or LAYOUTS[weights.layout].rename else official_names()
    known = known | {key for key in left if key.startswith(OTHER_PARTS)}
    layers = {_layer(key) for key in own}
    alien = [key for key in left if (key not in known and _layer(key) in layers) or _is_statistic(key, own)]
    spoiled = [key for key in wanted if key in weights.state and not weights.state[key].isfinite().all()]
    rest = [key for key in left if key not in alien]
    return Coverage(weights.name, LAYOUTS[weights.layout].label if weights.layout in LAYOUTS else weights.layout,
                    len(wanted) - len(missing), len(wanted), tuple(missing), tuple(alien), tuple(spoiled),
                    tuple(key for key in rest if key not in known), tuple(key for key in rest if key in known))


def _layer(key: str) -> str:
    """What a tensor belongs to: `blocks.3.`, `conv_stem.`."""
    match = re.match(r'[^.]+\.(\d+\.)?', key)
    return match[0] if match else key


def _is_statistic(key: str, own: dict[str, torch.Tensor]) -> bool:
    """Whether it is a batch norm's, and the module has another norm in that place."""
    place, _, part = key.rpartition('.')
    return part in ('running_mean', 'running_var') and f'{place}.weight' in own


def shape_of(value: Any) -> str:
    """The shape of a tensor for a message, the kind of what is none."""
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else 'none' if value is None else type(value).__name__


@cache
def official_names() -> set[str]:
    """Every tensor of the authors' classifier."""
    head = {f'{layer}.{part}' for layer in ('conv_head', 'classifier') for part in ('weight', 'bias')}
    return {*GhostNet(out_indices=[LAST_CONV]).state_dict(), *head}


def fitted(weights: Weights, backbone: GhostNet, checkpoint: str) -> Weights:
    """`weights` as they are, or, where `checkpoint` ends in `?widen`, with the channels of `backbone`."""
    if 'widen' not in split_options(checkpoint)[1]:
        return weights
    shapes = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    return Weights(f'{weights.name}, widened', weights.layout, widen(weights.state, shapes, weights.name),
                   weights.shortcut_relu)
