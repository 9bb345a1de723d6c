"""Read initial weights and compare them with a module: which of its tensors does the file cover?"""
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import nn

from ghostdet.download import shown
from ghostdet.messages import shorten
from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.backbones.ghostnetv2 import GhostNetV2
from ghostdet.models.backbones.ghostnetv3 import GhostNetV3
from ghostdet.models.backbones.repghostnet import RepGhostNet
from ghostdet.models.family import LAST_CONV, GhostFamily
from ghostdet.weights.catalogue import CATALOGUE
from ghostdet.weights.formats import read_file
from ghostdet.weights.layouts import AVERAGES, LAYOUTS, State, below, is_filled, recognise, to_official, unwrap
from ghostdet.weights.source import SCHEME, locate, split_options
from ghostdet.weights.widening import widen

FAMILY: dict[str, type[GhostFamily]] = {kind.__name__: kind for kind in (GhostNet, GhostNetV2, GhostNetV3, RepGhostNet)}
COUNTER = 'num_batches_tracked'  # counter of a batch norm: not a weight, and missing in some layouts
PROFILER = ('total_ops', 'total_params')  # buffers that thop adds to every layer when it counts operations
# prefixes of the other parts of a classifier or detector
OTHER_PARTS = ('head.', 'neck.', 'bbox_head.', 'rpn_head.', 'roi_head.', 'data_preprocessor.')


@dataclass(frozen=True)
class Weights:
    """Content of a weight file: tensors under the official (or another network's own) names, and the file's layout."""

    name: str
    layout: str
    state: State
    shortcut_relu: bool | None = False  # None if the file does not say
    padding: str | None = 'torch'  # of strided convolutions, as in GhostNet; None if the file does not say


@dataclass(frozen=True)
class Coverage:
    """Which tensors a module gets from a file, and which problems there are."""

    name: str
    layout: str
    received: int
    wanted: int
    missing: tuple[str, ...]  # tensors of the module that the file misses or has in another shape; both shapes
    alien: tuple[str, ...]  # tensors of the file in layers of this module that do not belong to them
    spoiled: tuple[str, ...]  # tensors of the module whose values in the file hold NaN or infinity
    unexpected: tuple[str, ...]  # other tensors of the file that no network of this kind has
    unused: tuple[str, ...]  # known tensors that this module does not need: the classifier, a later layer

    @property
    def fits(self) -> bool:
        """Whether all tensors fit, so that the module becomes the network of the file."""
        return not (self.missing or self.alien or self.spoiled)

    def to_text(self) -> str:
        """Return the coverage as one line for a log or a message."""
        lists = {'missing or of another shape': self.missing, 'of another network or norm': self.alien,
                 'with values that are not finite': self.spoiled, 'unexpected': self.unexpected}
        text = f'{self.name} ({self.layout}): {self.received} of {self.wanted} tensors'
        text += ''.join(f'; {what}: {shorten(keys)}' for what, keys in lists.items() if keys)
        return text + (f'; {len(self.unused)} not used here, such as {", ".join(self.unused[:2])}'
                       if self.unused else '')


def read_weights(checkpoint: str, prefix: str | None = None) -> Weights:
    """Read the tensors of a file under the official names; with a `prefix`, only those below it.

    Raises:
        UserError: the file cannot be found or read, or has no known layout.
    """
    name, options = split_options(checkpoint)
    content = read_file(locate(name))
    published = CATALOGUE.get(name.removeprefix(SCHEME)) if name.startswith(SCHEME) else None
    by_default = published is not None and published.average and any(is_filled(content, key) for key in AVERAGES)
    name = shown(name)
    state = below(unwrap(content, name, average='ema' in options or by_default), prefix, name, usual='backbone.')
    layout = recognise(state, name)
    known = LAYOUTS[layout]
    relu, padding = _noted(content.get('meta')) if layout == 'official' else (known.shortcut_relu, known.padding)
    return Weights(name, layout, to_official(state, layout, name), relu, padding)


def _noted(meta: Any) -> tuple[bool | None, str | None]:
    """Return `shortcut_relu` and `padding` of the network in a file; None for what `meta` does not say.

    `ghostdet weights convert` notes both; a run's checkpoint holds its config.
    """
    if not isinstance(meta, dict):
        return False, 'torch'  # files from the authors and timm
    text = str(meta.get('cfg') or meta.get('config_text') or '')  # of mmengine; of older versions of mmdet
    relu, padding = 'shortcut_relu=True' in text, 'tensorflow' if "padding='tensorflow'" in text else 'torch'
    if 'shortcut_relu' not in meta and "'GhostNet'" not in text and '.GhostNet' not in text:
        return None, None
    return meta.get('shortcut_relu', relu), meta.get('padding', padding)


def cover(module: nn.Module, weights: Weights) -> Coverage:
    """Compare the tensors of `module` with those in `weights`."""
    own = module.state_dict()
    wanted = [key for key in own if not key.endswith(COUNTER)]
    missing = [f'{key} {shape_of(own[key])} (the file has {shape_of(weights.state.get(key))})' for key in wanted
               if shape_of(weights.state.get(key)) != shape_of(own[key])]
    left = [key for key in weights.state if key not in own and not key.endswith(PROFILER)]
    network = LAYOUTS[weights.layout].network if weights.layout in LAYOUTS else ''
    known = official_names(network) if network in FAMILY else set(left)
    known = known | {key for key in left if key.startswith(OTHER_PARTS)}
    layers = {_layer(key) for key in own}
    alien = [key for key in left if (key not in known and _layer(key) in layers) or _is_statistic(key, own)]
    spoiled = [key for key in wanted if key in weights.state and not weights.state[key].isfinite().all()]
    rest = [key for key in left if key not in alien]
    return Coverage(weights.name, LAYOUTS[weights.layout].label if weights.layout in LAYOUTS else weights.layout,
                    len(wanted) - len(missing), len(wanted), tuple(missing), tuple(alien), tuple(spoiled),
                    tuple(key for key in rest if key not in known), tuple(key for key in rest if key in known))


def _layer(key: str) -> str:
    """Return the layer of a tensor: `blocks.3.`, `conv_stem.`."""
    match = re.match(r'[^.]+\.(\d+\.)?', key)
    return match[0] if match else key


def _is_statistic(key: str, own: dict[str, torch.Tensor]) -> bool:
    """Whether `key` is a batch norm statistic and the module `own` has a layer with that place's weight."""
    place, _, part = key.rpartition('.')
    return part in ('running_mean', 'running_var') and f'{place}.weight' in own


def shape_of(value: Any) -> str:
    """Return the shape of a tensor as text; for other values 'none' or the type."""
    if isinstance(value, torch.Tensor):
        return str(tuple(value.shape))
    return 'none' if value is None else type(value).__name__


@cache
def official_names(network: str) -> set[str]:
    """Return the names of all tensors of the authors' classifier; `network` is a key of `FAMILY`."""
    head = {f'{layer}.{part}' for layer in ('conv_head', 'classifier') for part in ('weight', 'bias')}
    with torch.device('meta'):
        return {*FAMILY[network](out_indices=[LAST_CONV]).state_dict(), *head}


def fitted(weights: Weights, backbone: GhostFamily, checkpoint: str) -> Weights:
    """Return `weights`, widened to the channels of `backbone` if `checkpoint` ends in `?widen`."""
    if 'widen' not in split_options(checkpoint)[1]:
        return weights
    shapes = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    return replace(weights, name=f'{weights.name}, widened', state=widen(weights.state, shapes, weights.name))
