"""The self-check of an exported file: does this machine compute what the exporter's did?

The exporter stores in the file what the network answers to a generated picture: a sample of the head's maps, and the
boxes. A machine that opens the file draws the same picture, runs it and compares.
"""
import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ghostdet.errors import UserError, reason
from ghostdet.infer.agreement import Agreement, Tolerance, compare
from ghostdet.infer.decoding import Instances
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.sessions import Session
from ghostdet.tables import aligned_table

VALUES, MIN_POINTS, MAX_POINTS = 12_000, 4, 64  # stored numbers, about; positions in each map
FLOOR = 0.25  # least spread of a group's values, as a fraction of the median of all groups

# By arithmetic: the maximum difference of maps, in spreads of their values: docs/evidence/deployment.md.
LIMITS = dict(fp32=0.0003, fp16=0.03, int8=0.2, bf16=0.6)
ONE_GROUP = 2.5  # times the limit that a single group may differ
NEAR_TIES = 2  # boxes without a partner that are always allowed: one that replaces another which is nearly as good
TOLERANCES = dict(fp32=Tolerance(0.5, 0.95, 0.005, 0, 0.1), fp16=Tolerance(1, 0.9, 0.02, 0.05, 0.15),
                  int8=Tolerance(1, 0.5, 0.25, 0.3, 0.34), bf16=Tolerance(1, 0.5, 0.25, 0.3, 0.34))


class CannotRunError(UserError):
    """A self-check cannot be made."""


@dataclass(frozen=True)
class Reference:
    """What a network answers to the generated picture.

    Args:
        colours: of the picture's background and shapes, RGB from 0 to 255.
        kinds: of the parts of the head's maps: 'scores', 'boxes', 'objectness', or 'cells' (YOLOv3, all in one).
        shapes: (C, H, W) of each map, part by part, each from the first to the last level.
        values: float32 numbers as base64: for each map, C x positions.
        boxes: left, top, right, bottom, score and label of each detection.
        errors: how far a quantized file itself is from this answer, for each group of `SelfCheck`, in spreads.
    """

    colours: tuple[tuple[int, int, int], ...]
    kinds: tuple[str, ...]
    shapes: tuple[tuple[int, int, int], ...]
    values: str
    boxes: tuple[tuple[float, ...], ...]
    errors: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return all values by name, for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, colours: Any, kinds: tuple[str, ...], maps: Sequence[np.ndarray], boxes: Instances) -> 'Reference':
        """Sample an answer; maps are (1, C, H, W)."""
        shapes = tuple(part.shape[1:] for part in maps)
        values = np.concatenate([part.ravel() for part in sampled(maps)]).astype('<f4').tobytes()
        rows = np.column_stack((boxes[0], boxes[1], boxes[2])).astype(float).round(5).tolist()
        return cls(colours, kinds, shapes, base64.b64encode(values).decode(), tuple(map(tuple, rows)))

    @property
    def maps(self) -> list[np.ndarray]:
        """The sampled values of each map (C, positions)."""
        values = np.frombuffer(base64.b64decode(self.values), '<f4')
        sizes = [(shape[0], len(points(shape, self.shapes))) for shape in self.shapes]
        parts = np.split(values, np.cumsum([rows * columns for rows, columns in sizes])[:-1])
        return [part.reshape(size) for part, size in zip(parts, sizes, strict=True)]

    @property
    def instances(self) -> Instances:
        """The boxes, scores and labels."""
        rows = np.array(self.boxes, np.float32).reshape(-1, 6)
        return rows[:, :4], rows[:, 4], rows[:, 5].astype(int)


@dataclass(frozen=True)
class SelfCheck:
    """The result of a self-check.

    Attributes:
        groups: for each class, and for boxes and objectness: the difference in each level, in spreads of the values.
        errors: for each group, the difference that quantization itself makes.
        boxes: how the detections agree.
        limit: maximum of `difference`; a single group may differ by `ONE_GROUP` times as much.
    """

    groups: Mapping[str, Sequence[float]]
    errors: Mapping[str, float]
    boxes: Agreement
    limit: float

    @property
    def difference(self) -> float:
        """The difference over all groups and levels, without what quantization itself makes."""
        return _beyond([rms(values) for values in self.groups.values()], list(self.errors.values()))

    @property
    def most(self) -> tuple[str, float]:
        """Name and difference of the group that differs most, without what quantization itself makes."""
        beyond = {name: _beyond([rms(values)], [self.errors.get(name, 0)]) for name, values in self.groups.items()}
        return max(beyond.items(), key=lambda pair: pair[1])

    @property
    def error(self) -> float:
        """The difference that quantization itself makes, as the median of the groups; 0 if there is none."""
        return float(np.median(list(self.errors.values()) or [0]))

    @property
    def passes(self) -> bool:
        """Whether all is within its limit."""
        return (self.difference <= self.limit and self.most[1] <= ONE_GROUP * self.limit
                and (self.boxes.is_close or self.boxes.alone <= NEAR_TIES))

    def to_text(self) -> str:
        """Return one line for a terminal."""
        name, most = self.most
        return (f'the answer to the built-in picture differs by {self.difference:.2g} of its spread (limit '
                f'{self.limit:g}), most in {name}: {most:.2g} (limit {ONE_GROUP * self.limit:g}); of '
                f'{self.boxes.pairs * 2 + self.boxes.alone} boxes compared, {self.boxes.alone} have no partner (limit '
                f'{self.boxes.tolerance.fraction:.0%}, or {NEAR_TIES})')

    def to_table(self) -> str:
        """Return the differences of all groups and levels."""
        levels = max(map(len, self.groups.values()))
        rows = [[name, *(f'{value:.2g}' for value in values), *[''] * (levels - len(values)), f'{rms(values):.2g}']
                for name, values in self.groups.items()]
        return aligned_table([['', *(f'level {level + 1}' for level in range(levels)), 'all'], *rows])


def picture(shape: Sequence[int], colours: Sequence[Sequence[int]]) -> np.ndarray:
    """Draw discs and squares of many sizes: (H, W, 3) uint8. Integers only, so that every machine draws the same."""
    height, width = shape
    random = np.random.RandomState(0)  # its numbers will never change
    rows, columns = np.ogrid[:height, :width]
    image: np.ndarray = np.empty((height, width, 3), np.uint8)
    image[:] = colours[0]
    for index, colour in enumerate(colours[1:]):
        radius = (min(shape) >> random.randint(1, 5)) * random.randint(8, 17) // 16 + 1
        down, right = abs(rows - random.randint(height)), abs(columns - random.randint(width))
        image[down ** 2 + right ** 2 < radius ** 2 if index % 2 else (down < radius) & (right < radius)] = colour
    return image


def picture_shape(manifest: Manifest) -> tuple[int, int]:
    """Return height and width of the picture: the input's, or those of a file of any size at the config's scale."""
    return manifest.padded(*manifest.target(*manifest.scale))


def points(shape: Sequence[int], shapes: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the positions, as indices into H x W, at which a map of `shape` is sampled; `shapes` are of all maps."""
    count = np.clip(VALUES // sum(channels for channels, _, _ in shapes), MIN_POINTS, MAX_POINTS)
    size = shape[1] * shape[2]
    count = min(int(count), size)
    return (np.arange(count) * size + size // 2) // count


def sampled(maps: Sequence[np.ndarray], index: int = 0) -> list[np.ndarray]:
    """Return the values (C, positions) of maps (N, C, H, W) of the image `index`."""
    shapes = [part.shape[1:] for part in maps]
    return [part[index].reshape(part.shape[1], -1)[:, points(part.shape[1:], shapes)] for part in maps]


def run_check(session: Session, precision: str) -> SelfCheck:
    """Run the self-check of an opened file.

    Args:
        precision: that of the arithmetic.

    Raises:
        CannotRunError: the file has no reference that can be read, or its runtime cannot compute the answer.
    """
    manifest = session.manifest
    if manifest.reference is None:
        raise CannotRunError('no self-check: it was exported before ghostdet 0.3. Export the checkpoint again')
    try:
        reference = Reference(**manifest.reference)
        for kind in reference.kinds:
            group_names(kind, 1, manifest.classes)
        levels, rest = divmod(len(reference.maps), len(reference.kinds))
        if rest or not levels:
            raise ValueError(f'{len(reference.maps)} maps of {len(reference.kinds)} kinds')
    except (TypeError, KeyError, ValueError, ArithmeticError) as error:
        raise CannotRunError('it has a self-check of another version of ghostdet. Export the checkpoint again, or '
                             'install a newer ghostdet') from error
    maps, found = answer(session, reference.colours)
    tolerance = TOLERANCES[precision]
    # A box whose score is near the threshold may be there or not.
    low = max(tolerance.min_score, manifest.score_threshold) + tolerance.score
    checks = [SelfCheck(differences(sampled(maps, index), reference, manifest.classes), reference.errors,
                        compare([(reference.instances, one)], tolerance, low), LIMITS[precision])
              for index, one in enumerate(found)]
    return max(checks, key=lambda check: (not check.passes, check.difference))


def answer(session: Session, colours: Sequence[Sequence[int]]) -> tuple[list[np.ndarray], list[Instances]]:
    """Run a file on the picture, in all places of its batch: return maps (N, C, H, W), and the boxes of each place.

    Raises:
        CannotRunError: the runtime cannot do it.
    """
    count, shape = session.manifest.batch, picture_shape(session.manifest)
    size = np.array(shape, np.int64)
    images = dict(image=picture(shape, colours)[None].repeat(count, axis=0),
                  size=size if count == 1 else np.tile(size, (count, 1)))
    try:
        maps, (boxes, scores, labels, *owners) = session.maps(**images), session.run(**images)
    except Exception as error:  # each runtime has its own types
        raise CannotRunError(f'{session.package} cannot run the built-in picture ({reason(error)})') from error
    places = [owners[0] == index for index in range(count)] if owners else [slice(None)]
    return maps, [(boxes[own], scores[own], labels[own]) for own in places]


def differences(found: Sequence[np.ndarray], reference: Reference, classes: Sequence[str]) -> dict[str, list[float]]:
    """Compare sampled maps with a reference, as in `SelfCheck.groups`."""
    expected = reference.maps
    levels = len(expected) // len(reference.kinds)
    errors, spreads = dict[str, list[float]](), dict[str, list[float]]()
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        one = one if one.shape == other.shape else np.full_like(other, np.inf)
        names = np.array(group_names(reference.kinds[index // levels], len(other), classes))
        for name in dict.fromkeys(names):
            own = names == name
            errors.setdefault(str(name), []).append(rms(one[own].astype(float) - other[own]))
            spreads.setdefault(str(name), []).append(rms(other[own].std(axis=1, dtype=float)))
    # Of all levels together: the maps of the last ones have few values.
    spread = {name: rms(values) for name, values in spreads.items()}
    floor = max(FLOOR * float(np.median(list(spread.values()))), 1e-6)
    return {name: [value / max(spread[name], floor) if np.isfinite(value) else np.inf for value in values]
            for name, values in errors.items()}


def group_names(kind: str, channels: int, classes: Sequence[str]) -> list[str]:
    """Return what each channel of a map is for.

    >>> group_names('cells', 7, ['cat', 'boxes'])
    ['(boxes)', '(boxes)', '(boxes)', '(boxes)', '(objectness)', 'cat', 'boxes']
    """
    boxes, objectness = '(boxes)', '(objectness)'  # there may be classes with these names
    names = dict(scores=classes, boxes=[boxes], objectness=[objectness],
                 cells=[*[boxes] * 4, objectness, *classes])[kind]
    return [names[channel % len(names)] for channel in range(channels)]


def _beyond(values: Sequence[float], errors: Sequence[float]) -> float:
    """Return what `values` have beyond `errors`. The squares of independent differences add up."""
    return float(np.sqrt(max(0., rms(values) ** 2 - rms(errors or [0]) ** 2)))


def rms(values: Sequence[float] | np.ndarray) -> float:
    """Return the root of the mean of the squares.

    >>> rms([3, 4, 0, 0])
    2.5
    """
    return float(np.sqrt(np.square(values).mean()))
