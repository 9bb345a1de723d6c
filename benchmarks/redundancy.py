"""Measure how similar a detector's feature maps are, and how well cheap maps are predicted from primary maps."""
import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ghostdet.errors import UserError
from ghostdet.images.decode import naming
from ghostdet.models.blocks import GhostModule
from ghostdet.models.ghost_conv import GhostConv
from ghostdet.tables import aligned_table
from ghostdet.training.build import random_detector
from ghostdet.training.config_file import read_config
from ghostdet.training.trained_detector import ImagePipeline, read_detector


@dataclass(frozen=True)
class Pair:
    """Two feature maps of a layer (their channels), and the Pearson correlation of their pixels."""

    first: int
    second: int
    correlation: float


@dataclass(frozen=True)
class GhostFit:
    """How well the cheap maps of one Ghost module are predicted on one image.

    Each value is the R^2 of the best fit a * primary + b to a cheap map's pixels. 1: the cheap map is a copy with other
    contrast and brightness. 0: the two are unrelated. nan: one of the two is constant, e.g. all 0 after a ReLU.

    Attributes:
        own: R^2 with the primary map that the cheap map is made from.
        other: R^2 with the next primary map, for comparison.
    """

    name: str
    own: tuple[float, ...]
    other: tuple[float, ...]

    @property
    def flat(self) -> int:
        """Number of cheap maps without a value in `own`."""
        return int(np.isnan(self.own).sum())

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of `own`; nan: no value."""
        return _quartiles(self.own)

    @property
    def median_of_other(self) -> float:
        """Median of `other`; nan: no value."""
        return _quartiles(self.other)[1]


@dataclass(frozen=True)
class Redundancy:
    """Feature maps of one layer for one image, their most similar pairs, and the fit of every Ghost module."""

    layer: str
    weights: str  # source of the weights
    image: np.ndarray  # (H, W, 3), RGB
    maps: np.ndarray  # (C, H, W)
    pairs: tuple[Pair, ...]
    modules: tuple[GhostFit, ...]

    @property
    def flat(self) -> int:
        """Number of constant maps in the layer."""
        return int((self.maps.reshape(len(self.maps), -1).std(axis=1) == 0).sum())

    def to_text(self) -> str:
        """Return lines for a terminal."""
        lines = [f'{self.layer}: {_shape(self.maps)}, {self.flat} of them without structure; {self.weights}']
        lines += [f'channels {pair.first} and {pair.second}: correlation {pair.correlation:.3f}' for pair in self.pairs]
        if not self.modules:
            return '\n'.join([*lines, 'the network has no Ghost module'])
        header = ['R^2 of cheap maps from primary ones', 'quarter', 'median', 'three quarters', 'from another', 'flat',
                  'of']
        rows = [[fit.name, *(f'{value:.2f}' for value in (*fit.quartiles, fit.median_of_other)), str(fit.flat),
                 str(len(fit.own))]
                for fit in self.modules]
        return '\n'.join([*lines, aligned_table([header, *rows])])

    def to_json(self) -> str:
        """Return all values, map by map; null: no value."""
        modules = [{**asdict(fit), 'own': _nulls(fit.own), 'other': _nulls(fit.other)} for fit in self.modules]
        return json.dumps(dict(layer=self.layer, weights=self.weights, channels=len(self.maps), flat=self.flat,
                               pairs=[asdict(pair) for pair in self.pairs], modules=modules), indent=1)


def similar_pairs(maps: np.ndarray, number: int) -> tuple[Pair, ...]:
    """Return the `number` most similar pairs of `maps` (C, H, W), the most similar first.

    Each map is in at most one pair. Constant maps are in none.
    """
    flat: np.ndarray = maps.reshape(len(maps), -1).astype(np.float64)
    alive = np.flatnonzero(flat.std(axis=1) > 0)
    if len(alive) < 2:
        return ()
    correlations = np.corrcoef(flat[alive])
    rows, columns = np.triu_indices(len(alive), 1)
    pairs: list[Pair] = []
    taken: set[int] = set()
    for index in np.argsort(-correlations[rows, columns], kind='stable'):
        first, second = int(alive[rows[index]]), int(alive[columns[index]])
        if len(pairs) < number and not taken & {first, second}:
            pairs.append(Pair(first, second, float(correlations[rows[index], columns[index]])))
            taken |= {first, second}
    return tuple(pairs)


def ghost_fit(name: str, primary: np.ndarray, cheap: np.ndarray, times: int) -> GhostFit:
    """Return how well each cheap map is predicted from primary maps; both (C, H, W).

    Args:
        times: cheap maps per primary map: cheap map i is made from primary map i // times.
    """
    sources = [index // times for index in range(len(cheap))]
    own = [_explained(primary[source], one) for source, one in zip(sources, cheap)]
    other = [_explained(primary[(source + 1) % len(primary)], one) for source, one in zip(sources, cheap)]
    return GhostFit(name, tuple(own), tuple(other if len(primary) > 1 else [float('nan')] * len(cheap)))


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    """Return the R^2 of the least squares fit a * x + b to `y`; nan: one of them is constant."""
    x, y = x.astype(np.float64) - x.mean(dtype=np.float64), y.astype(np.float64) - y.mean(dtype=np.float64)
    scale = (x * x).sum() * (y * y).sum()
    return float((x * y).sum() ** 2 / scale) if scale > 0 else float('nan')


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    there = [value for value in values if not np.isnan(value)]
    low, middle, high = (float(np.quantile(there or [np.nan], part)) for part in (0.25, 0.5, 0.75))
    return low, middle, high


def _nulls(values: Sequence[float]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values]


def _shape(maps: np.ndarray) -> str:
    return f'{len(maps)} feature maps of {maps.shape[1]}x{maps.shape[2]}'


def look(config: str, checkpoint: str | None, image: Path, layer: str, pairs: int) -> Redundancy:
    """Run a detector on an image and compare its feature maps.

    Args:
        checkpoint: trained weights; None: random weights, with batch norm statistics from the image and its mirror
            image.
        layer: name of the layer whose maps are compared, as in `model.named_modules()`. If a layer runs more than once
            (a head runs on every level), the first run counts.
        pairs: number of similar pairs to find.

    Raises:
        UserError: config, checkpoint or image cannot be read, the layer does not exist, or its output is not feature
        maps.
    """
    trained = read_detector(checkpoint, config) if checkpoint else random_detector(read_config(config, {}), config)
    model = trained.model
    _check_layer(model, layer)
    if not image.is_file():
        raise UserError(f'there is no image {image}')
    with naming(str(image)) as file:
        batch = ImagePipeline(trained.cfg)(Path(file).read_bytes())
    if checkpoint is None:
        _settle(model, batch)
    ghosts = {name: module for name, module in model.named_modules() if isinstance(module, (GhostModule, GhostConv))}
    wanted = {layer: model.get_submodule(layer), **ghosts,
              **{f'{name} primary': _primary(one) for name, one in ghosts.items()}}
    caught = _catch(model, wanted, batch)
    maps = _maps(caught.get(layer), layer).numpy()
    fits = [_fit(name, module, caught[f'{name} primary'], caught[name])
            for name, module in ghosts.items() if name in caught]
    pixels = batch['inputs'][0].flip(0).permute(1, 2, 0).numpy()
    weights = f'weights of {Path(checkpoint).name}' if checkpoint else 'random weights'
    return Redundancy(layer, weights, pixels, maps, similar_pairs(maps, pairs), tuple(fit for fit in fits if fit.own))


def _settle(model: nn.Module, batch: dict[str, Any]) -> None:
    """Set batch norm's statistics from an image and its mirror image, as after one training step."""
    for norm in (module for module in model.modules() if isinstance(module, _BatchNorm)):
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    (image,), (sample,) = batch['inputs'], batch['data_samples']
    model.train()
    with torch.no_grad():
        model.test_step(dict(inputs=[image, image.flip(2)], data_samples=[sample, deepcopy(sample)]))
    model.eval()


def _catch(model: nn.Module, layers: dict[str, nn.Module], batch: dict[str, Any]) -> dict[str, Any]:
    """Run the model; return each layer's output from its first run."""
    caught: dict[str, Any] = {}

    def keeping(name: str) -> Callable:
        # must return None: a hook's result replaces the output
        def keep(layer: nn.Module, inputs: Any, output: Any) -> None:
            if name not in caught:
                caught[name] = output.clone() if isinstance(output, Tensor) else output
        return keep
    handles = [layer.register_forward_hook(keeping(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            model.test_step(batch)
    finally:
        for handle in handles:
            handle.remove()
    return caught


def _primary(ghost: GhostModule | GhostConv) -> nn.Module:
    return ghost.primary if isinstance(ghost, GhostConv) else ghost.primary_conv


def _fit(name: str, ghost: nn.Module, primary: Tensor, maps: Tensor) -> GhostFit:
    cheap = maps[0, primary.shape[1]:].cpu().numpy()
    return ghost_fit(name, primary[0].cpu().numpy(), cheap, ghost.times)


def _check_layer(model: nn.Module, layer: str) -> None:
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        close = get_close_matches(layer, names, n=6, cutoff=0.5)
        parts = ', '.join(name for name, _ in model.named_children())
        raise UserError(f'--layer {layer}: the detector has no such layer' + (
            f'; did you mean {", ".join(close)}?' if close else f'; its parts are {parts}'))


def _maps(output: Any, layer: str) -> Tensor:
    """Return the feature maps (C, H, W) in a layer's output for one image.

    Raises:
        UserError: the output is something else.
    """
    if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] * output.shape[3] > 1:
        return output[0].cpu().float()
    if output is None:
        raise UserError(f'--layer {layer}: the detector does not run this layer on an image: choose another layer')
    kind = f'a tensor of shape {tuple(output.shape)}' if isinstance(output, Tensor) else f'a {type(output).__name__}'
    raise UserError(f'--layer {layer}: expected feature maps (N, C, H, W) of more than one pixel, but the layer '
                    f'returns {kind}: choose another layer, e.g. one inside it')
