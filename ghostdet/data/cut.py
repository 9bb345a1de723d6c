"""Cut a validation part off a data set, with the same fraction of every class."""
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from ghostdet.errors import UserError


@dataclass
class _Unit:
    """Images that stay together, and for each class in how many of them it is."""

    images: list[dict] = field(default_factory=list)
    classes: Counter = field(default_factory=Counter)


def cut(content: dict[str, Any], fraction: float, seed: int = 0,
        groups: Callable[[dict], Hashable] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cut COCO content in two by image, the same way for the same seed: a train part and a val part.

    Each class gets its fraction of val images, the rarest class first (iterative stratification), and so do the images
    without boxes. Every class is in the train part. A class in at least two images is in the val part too, unless
    that takes the last image of another class from the train part: a set with many rare classes gets a larger val
    part than asked for. Crowd regions do not count. The order of the records does not matter.

    Args:
        content: content that passed the check of its split.
        fraction: fraction of the images that the val part gets.
        groups: a function that gives the group of an image record. Images of one group, such as frames of one film,
            stay together. The rules above then hold for groups.

    Raises:
        UserError: the fraction is not between 0 and 1, or there is nothing to cut off.
    """
    if not 0 < fraction < 1:
        raise UserError(f'--val-fraction {fraction}: expected a number between 0 and 1, such as 0.2')
    if len(content['images']) < 2:
        raise UserError(f'cannot cut a validation part off {len(content["images"])} images: at least 2 are needed')
    units = _units(content, groups)
    if len(units) < 2:
        raise UserError('cannot cut a validation part off: all images are in one group. At least 2 groups are needed')
    division = _Division(units, fraction, random.Random(seed))
    division.divide()
    chosen = {image['id'] for unit, side in zip(units, division.in_val) if side for image in unit.images}
    if not chosen:
        raise UserError('cannot cut a validation part off: every image has a class that no other image has, so the '
                        'train part would lose this class. Add images, or name a validation set')
    return _part(content, chosen, False), _part(content, chosen, True)


def _part(content: dict[str, Any], chosen: set, val: bool) -> dict[str, Any]:
    images = [image for image in content['images'] if (image['id'] in chosen) == val]
    boxes = [box for box in content['annotations'] if (box['image_id'] in chosen) == val]
    return dict(content, images=images, annotations=boxes)


def _units(content: dict[str, Any], groups: Callable[[dict], Hashable] | None) -> list[_Unit]:
    classes = defaultdict(set)
    for box in content['annotations']:
        if not box.get('iscrowd'):
            classes[box['image_id']].add(box['category_id'])
    units: dict[Hashable, _Unit] = defaultdict(_Unit)
    for image in sorted(content['images'], key=lambda image: (str(image['file_name']), str(image['id']))):
        unit = units[groups(image) if groups else image['id']]
        unit.images.append(image)
        # sorted: the order of a set of texts changes from run to run
        unit.classes.update(sorted(classes[image['id']], key=str))
    return list(units.values())


class _Division:
    """Which units are in the val part, and what each part still misses."""

    def __init__(self, units: list[_Unit], fraction: float, source: random.Random) -> None:
        self.units, self.fraction, self.source = units, fraction, source
        self.in_val = [False] * len(units)
        self.holders: dict[Hashable, list[int]] = defaultdict(list)  # class -> units that have it
        for index, unit in enumerate(units):
            for name in unit.classes:
                self.holders[name].append(index)
        # units not in val, per class
        self.in_train = Counter({name: len(indexes) for name, indexes in self.holders.items()})
        images = sum((unit.classes for unit in units), Counter())
        val = {name: self._wanted(name, number) for name, number in images.items()}
        self.lacks = {True: Counter(val), False: Counter({name: images[name] - val[name] for name in images})}

    def divide(self) -> None:
        """Choose the val part."""
        open_units = {index for index, unit in enumerate(self.units) if unit.classes}
        waiting = Counter({name: len(indexes) for name, indexes in self.holders.items()})
        while open_units:
            rarest = min((name for name in waiting if waiting[name]), key=lambda name: waiting[name])
            members = [index for index in self.holders[rarest] if index in open_units]
            self.source.shuffle(members)
            for index in members:
                self._assign(index, rarest)
                waiting.subtract(self.units[index].classes.keys())
            open_units.difference_update(members)
        self._show_every_class()
        self._divide_without_boxes()

    def _wanted(self, name: Hashable, images: int) -> int:
        """Return how many images of a class the val part wants."""
        if len(self.holders[name]) < 2:
            return 0
        return min(max(round(self.fraction * images), 1), images - 1)

    def _assign(self, index: int, name: Hashable) -> None:
        """Put a unit where more images with the class `name` are missing; by chance if both parts miss as many."""
        val, train = self.lacks[True][name], self.lacks[False][name]
        side = val > train if val != train else self.source.random() < self.fraction
        side = side and self._can_spare(index)
        self.lacks[side].subtract(self.units[index].classes)
        if side:
            self._move(index, True)

    def _can_spare(self, index: int) -> bool:
        """Return whether the train part keeps every class without this unit."""
        return all(self.in_train[name] > 1 for name in self.units[index].classes)

    def _move(self, index: int, val: bool) -> None:
        self.in_val[index] = val
        for name in self.units[index].classes:
            self.in_train[name] += -1 if val else 1

    def _show_every_class(self) -> None:
        """Move a unit to the val part for each class that is not there, where the train part can spare one."""
        for members in sorted(self.holders.values(), key=len):
            if not any(self.in_val[index] for index in members):
                spare = [index for index in members if self._can_spare(index)]
                if spare:
                    self._move(min(spare, key=lambda index: len(self.units[index].classes)), True)

    def _divide_without_boxes(self) -> None:
        empty = [index for index, unit in enumerate(self.units) if not unit.classes]
        self.source.shuffle(empty)
        wanted, got = self.fraction * sum(len(self.units[index].images) for index in empty), 0
        for index in empty:
            size = len(self.units[index].images)
            if got + size / 2 <= wanted:
                self._move(index, True)
                got += size
        if empty and not any(self.in_val):
            self._move(empty[0], True)
        if all(self.in_val):
            self._move(empty[-1], False)
