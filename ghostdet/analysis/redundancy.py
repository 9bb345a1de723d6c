"""How much feature maps repeat each other, and how much of a cheap map its primary map already says."""
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ghostdet.tables import aligned_table


@dataclass(frozen=True)
class Pair:
    """Two feature maps of a layer, by channel, and Pearson's correlation of their pixels."""

    first: int
    second: int
    correlation: float


@dataclass(frozen=True)
class GhostFit:
    """A Ghost module on an image: R^2 of the best prediction a * primary + b of each cheap map's pixels.

    1 is a copy in other shades of grey, 0 something else altogether. nan: one of the two has no structure, as after a ReLU that
    stopped everything.

    `own` is from the map that the cheap one is made of; `other` from the next primary map, to compare it with.
    """

    name: str
    own: tuple[float, ...]
    other: tuple[float, ...]

    @property
    def flat(self) -> int:
        """Cheap maps without a figure."""
        return int(np.isnan(self.own).sum())

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Of `own`: a quarter of the maps below, half of them, three quarters; nan where there is no figure."""
        return _quartiles(self.own)

    @property
    def median_of_other(self) -> float:
        """Of `other`; nan where there is no figure."""
        return _quartiles(self.other)[1]


@dataclass(frozen=True)
class Redundancy:
    """What an image shows in a network: a layer's maps, (C, H, W), their most similar pairs, and every Ghost module."""

    layer: str
    weights: str  # where they come from
    image: np.ndarray  # (H, W, 3), red first
    maps: np.ndarray
    pairs: tuple[Pair, ...]
    modules: tuple[GhostFit, ...]

    @property
    def flat(self) -> int:
        """Maps of the layer without structure."""
        return int((self.maps.reshape(len(self.maps), -1).std(axis=1) == 0).sum())

    def to_text(self) -> str:
        """Lines for a terminal."""
        lines = [f'{self.layer}: {_shape(self.maps)}, {self.flat} of them without structure; {self.weights}']
        lines += [f'channels {pair.first} and {pair.second}: correlation {pair.correlation:.3f}' for pair in self.pairs]
        if not self.modules:
            return '\n'.join([*lines, 'the network has no Ghost module'])
        header = ['R^2 of cheap maps from primary ones', 'quarter', 'median', 'three quarters', 'from another', 'flat', 'of']
        rows = [[fit.name, *(f'{value:.2f}' for value in (*fit.quartiles, fit.median_of_other)), str(fit.flat), str(len(fit.own))]
                for fit in self.modules]
        return '\n'.join([*lines, aligned_table([header, *rows])])

    def to_json(self) -> str:
        """All figures, map by map; null where there is none."""
        modules = [{**asdict(fit), 'own': _nulls(fit.own), 'other': _nulls(fit.other)} for fit in self.modules]
        return json.dumps(dict(layer=self.layer, weights=self.weights, channels=len(self.maps), flat=self.flat,
                               pairs=[asdict(pair) for pair in self.pairs], modules=modules), indent=1)


def similar_pairs(maps: np.ndarray, number: int) -> tuple[Pair, ...]:
    """The `number` most similar pairs of `maps`, (C, H, W), the most similar first; each map is in one pair at most.

    Maps without structure are in none.
    """
    flat: np.ndarray = maps.reshape(len(maps), -1).astype(np.float64)
    alive = np.flatnonzero(flat.std(axis=1) > 0)
    if len(alive) < 2:
        return ()
    correlations = np.corrcoef(flat[alive])
    rows, columns = np.triu_indices(len(alive), 1)
    pairs: list[Pair] = []
    taken: set[int] = set()
    for place in np.argsort(-correlations[rows, columns], kind='stable'):
        first, second = int(alive[rows[place]]), int(alive[columns[place]])
        if len(pairs) < number and not taken & {first, second}:
            pairs.append(Pair(first, second, float(correlations[rows[place], columns[place]])))
            taken |= {first, second}
    return tuple(pairs)


def ghost_fit(name: str, primary: np.ndarray, cheap: np.ndarray, times: int) -> GhostFit:
    """How well each of the `cheap` maps is predicted; number i is made of primary map i // times. Both are (C, H, W)."""
    sources = [index // times for index in range(len(cheap))]
    own = [_explained(primary[source], one) for source, one in zip(sources, cheap)]
    other = [_explained(primary[(source + 1) % len(primary)], one) for source, one in zip(sources, cheap)]
    return GhostFit(name, tuple(own), tuple(other if len(primary) > 1 else [float('nan')] * len(cheap)))


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    """R^2 of the least squares fit of `y` by `x` and a constant; nan where one of them is constant."""
    x, y = x.astype(np.float64) - x.mean(dtype=np.float64), y.astype(np.float64) - y.mean(dtype=np.float64)
    scale = (x * x).sum() * (y * y).sum()
    return float((x * y).sum() ** 2 / scale) if scale > 0 else float('nan')


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    there = [value for value in values if not np.isnan(value)]
    low, middle, high = (float(np.quantile(there, share)) if there else float('nan') for share in (0.25, 0.5, 0.75))
    return low, middle, high


def _nulls(values: Sequence[float]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values]


def _shape(maps: np.ndarray) -> str:
    return f'{len(maps)} feature maps of {maps.shape[1]}x{maps.shape[2]}'
