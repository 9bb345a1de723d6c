"""Initial weights by name: `ghostdet://NAME`, a path or a URL, each with `?widen` or `?ema` if wanted, checked for coverage.

It takes the place of mmengine's own `Pretrained` initializer, which loads what fits and trains the rest from random values.
"""
import hashlib
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from ghostdet.download import checksum, fetch, shown
from ghostdet.errors import UserError
from ghostdet.files import beside
from ghostdet.messages import some
from ghostdet.models.ghostnet import LAST_CONV, GhostNet
from ghostdet.weights.catalogue import CATALOGUE
from ghostdet.weights.checkpoint_file import DamagedFileError
from ghostdet.weights.formats import read
from ghostdet.weights.layouts import LAYOUTS, State, recognise, to_official, unwrap
from ghostdet.weights.widening import widen

SCHEME = 'ghostdet://'
COUNTER = 'num_batches_tracked'  # of a batch norm; no weight, and not in every layout
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
    unused: tuple[str, ...]  # tensors of the file that this module has no place for: the classifier, a later layer
    unexpected: tuple[str, ...]  # tensors of the file that no GhostNet has

    def to_text(self) -> str:
        """For a log, or a message."""
        text = f'{self.name} ({self.layout}): {self.received} of {self.wanted} tensors'
        text += f'; missing or of another shape: {some(self.missing)}' if self.missing else ''
        text += f'; unexpected: {some(self.unexpected)}' if self.unexpected else ''
        return text + (f'; {len(self.unused)} not used here, as {", ".join(self.unused[:2])}' if self.unused else '')


def split_options(checkpoint: str) -> tuple[str, set[str]]:
    """A checkpoint's name and its options.

    >>> split_options('ghostdet://ghostnet_1.0x?widen')
    ('ghostdet://ghostnet_1.0x', {'widen'})
    """
    match = re.fullmatch(r'(.+?)\?((?:widen|ema)(?:&(?:widen|ema))*)', checkpoint)
    return (match[1], set(match[2].split('&'))) if match else (checkpoint, set())


def locate(name: str) -> Path:
    """The file of a name, path or URL, fetched into torch's cache where it is not there yet.

    Raises:
        UserError: the catalogue has no such name, or the file cannot be had.
    """
    cache = Path(torch.hub.get_dir()) / 'checkpoints'
    if name.startswith(SCHEME):
        entry = CATALOGUE.get(name.removeprefix(SCHEME))
        if entry is None:
            raise UserError(f'there are no weights {name}; there are {", ".join(SCHEME + known for known in CATALOGUE)}')
        digest = ('sha256', entry.sha256) if entry.sha256 else None
        return _remembered(fetch(entry.url, cache / entry.file, entry.size, digest), entry.sha256)
    if '://' in name and not name.startswith(('http://', 'https://')):
        raise UserError(f'{name}: a GhostNet\'s weights come from {SCHEME}NAME, an http or https address, or a path')
    if '://' in name:
        origin = hashlib.sha256(name.encode()).hexdigest()[:8]  # many files are called model.pth
        return _remembered(fetch(name, cache / f'{origin}-{Path(urlparse(name).path).name or "file"}'), None)
    return Path(name).expanduser()


def read_weights(checkpoint: str, prefix: str | None = None) -> Weights:
    """Tensors of a file under the official names; with a `prefix`, those below it alone.

    Raises:
        UserError: it cannot be had or read, or is in no layout that is known.
    """
    name, options = split_options(checkpoint)
    content = read(locate(name))
    name = shown(name)
    state = unwrap(content, name, average='ema' in options, below='' if prefix else 'backbone.')
    state = _below(state, prefix, name)
    layout = recognise(state, name)
    relu = _shortcut_relu(content.get('meta')) if layout == 'official' else LAYOUTS[layout].shortcut_relu
    return Weights(name, layout, to_official(state, layout), relu)


def _below(state: State, prefix: str | None, name: str) -> State:
    start = f'{prefix.rstrip(".")}.' if prefix else ''
    own = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
    if not own:
        raise UserError(f'{name} has no tensors below the prefix {prefix}; its first keys are {some(list(state))}')
    return own


def _shortcut_relu(meta: Any) -> bool | None:
    """What `tools/weights.py convert` has noted in a file, or the config of a run in its checkpoint; None where neither did."""
    if not isinstance(meta, dict):
        return False  # the authors', timm's
    text = str(meta.get('config_text') or '')
    return meta.get('shortcut_relu', 'shortcut_relu=True' in text if "'GhostNet'" in text or '.GhostNet' in text else None)


def cover(module: nn.Module, weights: Weights) -> Coverage:
    """Compare what `module` wants with what `weights` has."""
    own = module.state_dict()
    wanted = {key for key in own if not key.endswith(COUNTER)}
    missing = {key: f'{key} {tuple(own[key].shape)} (the file has {shape_of(weights.state.get(key))})' for key in own
               if key in wanted and shape_of(weights.state.get(key)) != shape_of(own[key])}
    left = [key for key in weights.state if key not in own]
    known = set(left) if weights.layout not in LAYOUTS or LAYOUTS[weights.layout].rename else official_names()
    known = known | {key for key in left if key.startswith(OTHER_PARTS)}
    return Coverage(weights.name, LAYOUTS[weights.layout].label if weights.layout in LAYOUTS else weights.layout,
                    len(wanted) - len(missing), len(wanted), tuple(missing.values()),
                    tuple(key for key in left if key in known), tuple(key for key in left if key not in known))


def shape_of(value: Any) -> str:
    """The shape of a tensor for a message, the kind of what is none."""
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else 'none' if value is None else type(value).__name__


@cache
def official_names() -> set[str]:
    """Every tensor of the authors' classifier."""
    head = {f'{layer}.{part}' for layer in ('conv_head', 'classifier') for part in ('weight', 'bias')}
    return {*GhostNet(out_indices=[LAST_CONV]).state_dict(), *head}


def load_into(module: nn.Module, checkpoint: str, prefix: str | None = None) -> Coverage:
    """Load initial weights, every tensor of the module or none.

    Args:
        prefix: what the names of the module's tensors begin with in the file; a backbone's in a detector are found without.

    Raises:
        UserError: the file cannot be had or read, is another network's, or lacks a tensor; the message says which.
    """
    if isinstance(module, GhostNet):
        return load_ghostnet(module, checkpoint, prefix)
    return load_all(module, foreign_weights(checkpoint, set(module.state_dict()), prefix))


def load_ghostnet(backbone: GhostNet, checkpoint: str, prefix: str | None = None) -> Coverage:
    """Load initial weights, every tensor of the backbone or none.

    Raises:
        UserError: the file cannot be had or read, is another network's, or lacks a tensor; the message says which.
    """
    weights = read_weights(checkpoint, prefix)
    if weights.shortcut_relu is not None and weights.shortcut_relu != backbone.shortcut_relu:
        raise UserError(f'{weights.name} ({LAYOUTS[weights.layout].label}) is of a network with '
                        f'{"a" if weights.shortcut_relu else "no"} ReLU in its shortcuts: set '
                        f'model.backbone.shortcut_relu={weights.shortcut_relu}')
    return load_all(backbone, fitted(weights, backbone, checkpoint))


def fitted(weights: Weights, backbone: GhostNet, checkpoint: str) -> Weights:
    """`weights` as they are, or, where `checkpoint` ends in `?widen`, with the channels of `backbone`."""
    if 'widen' not in split_options(checkpoint)[1]:
        return weights
    shapes = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    return Weights(f'{weights.name}, widened', weights.layout, widen(weights.state, shapes, weights.name),
                   weights.shortcut_relu)


def load_all(module: nn.Module, weights: Weights) -> Coverage:
    """Load every tensor of `module`.

    Raises:
        UserError: one is missing, or of another shape.
    """
    coverage = cover(module, weights)
    if coverage.missing:
        advice = ', or of a smaller width with ?widen after its name' if isinstance(module, GhostNet) else ''
        raise UserError(f'these weights do not fit the {type(module).__name__}: {coverage.to_text()}. Take a file of this '
                        f'network and width{advice}')
    own = module.state_dict()
    module.load_state_dict({key: weights.state[key] for key in own if key in weights.state}, strict=False)
    return coverage


@WEIGHT_INITIALIZERS.register_module(name='Pretrained', force=True)
class CompletePretrained(PretrainedInit):
    """mmengine's `Pretrained`, which raises where a GhostNet, or any module with `complete=True`, does not get all its tensors.

    Args:
        complete: refuse a file that lacks a tensor of the module; of a GhostNet always.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, map_location: str = 'cpu', complete: bool = False) -> None:
        super().__init__(checkpoint, prefix, map_location)
        self.complete = complete

    def __call__(self, module: nn.Module) -> None:
        """Load the weights into `module`."""
        if self.complete or isinstance(module, GhostNet):
            print_log(load_into(module, self.checkpoint, self.prefix).to_text(), logger='current')
        else:
            super().__call__(module)


def foreign_weights(checkpoint: str, wanted: set[str], prefix: str | None = None) -> Weights:
    """Tensors of another network's file, those below `prefix` alone if there is one.

    Their names are the file's own, or, where that has none of those `wanted`, what they are called here.
    """
    state = unwrap(CheckpointLoader.load_checkpoint(checkpoint, 'cpu'), checkpoint, below='')
    state = _below(state, prefix, shown(checkpoint))
    for key, layout in LAYOUTS.items():
        if layout.rename and wanted.isdisjoint(state) and any(re.search(layout.mark, name) for name in state):
            return Weights(shown(checkpoint), key, layout.rename(state))
    return Weights(shown(checkpoint), 'its own names', state)


def _remembered(file: Path, published: str | None) -> Path:
    """Compare a fetched file with the checksum of its first day, where its publisher gives none."""
    record = file.with_name(f'{file.name}.sha256')
    if published is not None and not checksum(file).startswith(published):
        raise DamagedFileError(f'{file} is not the published file, whose sha256 begins with {published}. Delete it, and it is '
                               'fetched again')
    known = record.read_text().split() if record.exists() else []
    if not known:
        if not os.access(file.parent, os.W_OK):
            return file  # a cache that others keep
        part = beside(record)
        part.write_text(f'{checksum(file)}  {file.name}\n')
        part.replace(record)
        if published is None:
            print_log(f'{file}: nobody has published a checksum for it; its sha256 of today, {record.read_text().split()[0]}, is '
                      'what it will be compared with', logger='current')
    elif (found := checksum(file)) != known[0]:
        raise DamagedFileError(f'{file} is not what was fetched: its sha256 is {found}, and {record.name} has another. If you '
                               f'put it there yourself, delete {record.name}; else delete both, and it is fetched again')
    return file
