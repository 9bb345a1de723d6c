"""Read initial weights of GhostNet and its successors, under the official names and in the official form."""
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch

from ghostdet.download import shown
from ghostdet.models.family import LAST_CONV, GhostFamily
from ghostdet.models.networks import NETWORKS
from ghostdet.weights.catalogue import CATALOGUE
from ghostdet.weights.checkpoint_file import state_on_disk, trusted
from ghostdet.weights.layouts import AVERAGES, LAYOUTS, State, below, is_filled, recognise, to_official, unwrap
from ghostdet.weights.reader import SCHEME, locate, read_file, split_options
from ghostdet.weights.widening import widen


@dataclass(frozen=True)
class Weights:
    """Content of a weight file: tensors under the official names (another network: under its own), and the layout of
    the file.
    """

    name: str
    layout: str
    state: State
    shortcut_relu: bool | None = False  # None if the file does not say
    padding: str | None = 'torch'  # of strided convolutions, as in GhostNet; None if the file does not say


def read_weights(checkpoint: str, prefix: str | None = None) -> Weights:
    """Read the tensors of a file under the official names; with a `prefix`, only those below it.

    The same file may give the same tensors again: do not change them.

    Raises:
        UserError: the file cannot be found or read, or has no known layout.
    """
    name, options = split_options(checkpoint)
    file = locate(name)
    return _read(name, file, prefix, 'ema' in options, (state_on_disk(file), trusted.get()))


@lru_cache(maxsize=1)  # a run reads its initial weights to check them, and again when its model is initialised
def _read(name: str, file: Path, prefix: str | None, average: bool, _: tuple) -> Weights:
    content = read_file(file)
    published = CATALOGUE.get(name.removeprefix(SCHEME)) if name.startswith(SCHEME) else None
    if published is not None and published.average:
        average = average or any(is_filled(content, key) for key in AVERAGES)
    name = shown(name)
    state = below(unwrap(content, name, average), prefix, name, usual='backbone.')
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


@cache
def official_names(network: str) -> set[str]:
    """Return the names of all tensors of the authors' classifier; `network` is a key of `NETWORKS`, of the family."""
    head = {f'{layer}.{part}' for layer in ('conv_head', 'classifier') for part in ('weight', 'bias')}
    with torch.device('meta'):
        return {*NETWORKS[network].load()(out_indices=[LAST_CONV]).state_dict(), *head}


def fitted(weights: Weights, backbone: GhostFamily, checkpoint: str) -> Weights:
    """Return `weights`, widened to the channels of `backbone` if `checkpoint` ends in `?widen`."""
    if 'widen' not in split_options(checkpoint)[1]:
        return weights
    shapes = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    return replace(weights, name=f'{weights.name}, widened', state=widen(weights.state, shapes, weights.name))
