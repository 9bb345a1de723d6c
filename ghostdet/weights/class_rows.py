"""Match the classes of a detector and of data by their names: for a run that starts from it, and for a test.

Names are equal after case, spaces, underscores and hyphens. A run that starts from a detector takes the rows (output
channels) of its last layers that belong to classes of the same name. Other rows are for boxes, objectness, background.
In each group of rows, one for each anchor, the rows of all classes are neighbours.
"""
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ghostdet.errors import UserError
from ghostdet.messages import LOGGER, shorten


@dataclass(frozen=True)
class Rows:
    """How the rows of a layer are laid out: for each anchor, other rows, `each` rows of each class, other rows."""

    anchors: int = 1
    before: int = 0
    each: int = 1
    after: int = 0

    def count(self, classes: int) -> int:
        """Return the number of rows of a layer for so many classes."""
        return self.anchors * (self.before + self.each * classes + self.after)

    def classes_in(self, rows: int) -> int:
        """Return the number of classes of a layer with so many rows; -1 if it has another layout."""
        classes, rest = divmod(rows // self.anchors - self.before - self.after, self.each)
        return classes if not rest and classes >= 0 and self.count(classes) == rows else -1

    def of_classes(self, classes: int) -> Tensor:
        """Return the rows of each class, (classes, anchors * each)."""
        grid = torch.arange(self.count(classes)).reshape(self.anchors, -1)
        own = grid[:, self.before:grid.shape[1] - self.after]
        return own.reshape(self.anchors, classes, self.each).transpose(0, 1).flatten(1)

    def of_none(self, classes: int) -> Tensor:
        """Return the rows that belong to no class."""
        grid = torch.arange(self.count(classes)).reshape(self.anchors, -1)
        return torch.cat((grid[:, :self.before], grid[:, grid.shape[1] - self.after:]), 1).flatten()


def last_layers(model: nn.Module) -> Iterator[tuple[str, Rows]]:
    """Yield the name of each layer of a detector that has rows of classes, and their layout."""
    from mmdet.models.dense_heads import RetinaHead, RTMDetHead, YOLOV3Head, YOLOXHead
    from mmdet.models.roi_heads.bbox_heads import BBoxHead

    from ghostdet.models.heads.nanodet_plus import NanoDetPlusAuxHead, NanoDetPlusHead
    for name, head in model.named_modules():
        if isinstance(head, BBoxHead):
            if head.with_cls and not head.custom_cls_channels:
                yield f'{name}.fc_cls', Rows(after=1)  # the background
            if head.with_reg and not head.reg_class_agnostic:
                yield f'{name}.fc_reg', Rows(each=4)
        elif isinstance(head, NanoDetPlusHead):
            yield from _levels(f'{name}.gfl_cls', head.gfl_cls, Rows(after=4 * (head.reg_max + 1)))
        elif isinstance(head, NanoDetPlusAuxHead):
            yield f'{name}.gfl_cls', Rows()
        elif isinstance(head, YOLOV3Head):
            yield from _levels(f'{name}.convs_pred', head.convs_pred, Rows(head.num_base_priors, before=5))
        elif isinstance(head, YOLOXHead):
            yield from _levels(f'{name}.multi_level_conv_cls', head.multi_level_conv_cls, Rows())
        elif isinstance(head, RTMDetHead):
            yield from _levels(f'{name}.rtm_cls', head.rtm_cls, Rows(head.num_base_priors))
        elif isinstance(head, RetinaHead):
            yield f'{name}.retina_cls', Rows(head.num_base_priors)


def _levels(name: str, layers: nn.Module, rows: Rows) -> Iterator[tuple[str, Rows]]:
    if isinstance(layers, nn.ModuleList):
        yield from ((f'{name}.{level}', rows) for level in range(len(layers)))
    else:
        yield name, rows


def by_name(model: nn.Module, state: dict[str, Any], learned: Sequence[str] | None,
            wanted: Sequence[str]) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a detector's last layers for other classes, and text on what they hold.

    Rows of a class that the file knows by the same name come from the file, as do rows of no class. Rows of other
    classes are those of `model`.

    Args:
        learned: the classes of `state`, in the order of the labels; None: unknown, and no row of a class is taken.
        wanted: the classes of `model`.

    Raises:
        UserError: two classes of one list have the same name.
    """
    pairs = matching(learned or (), wanted)
    sources, targets = ([pair[side] for pair in pairs] for side in (0, 1))
    own, taken = model.state_dict(), {}
    for layer, rows in last_layers(model):
        for key in (f'{layer}.weight', f'{layer}.bias'):
            value = state.get(key)
            if key not in own or not isinstance(value, Tensor) or value.shape[1:] != own[key].shape[1:]:
                continue
            count = rows.classes_in(value.shape[0]) if learned is None else len(learned)
            if rows.count(count) != value.shape[0] or rows.count(len(wanted)) != own[key].shape[0]:
                continue
            tensor = own[key].clone()
            tensor[rows.of_none(len(wanted))] = value[rows.of_none(count)].to(tensor)
            if pairs:
                tensor[rows.of_classes(len(wanted))[targets].flatten()] = value[
                    rows.of_classes(count)[sources].flatten()].to(tensor)
            taken[key] = tensor
    return taken, _text(learned, wanted, targets, sources)


def matching(learned: Sequence[str], wanted: Sequence[str]) -> list[tuple[int, int]]:
    """Return label in `learned` and label in `wanted` of each class that both have.

    >>> matching(('cat', 'Fire truck'), ('fire-truck', 'dog'))
    [(1, 0)]

    Raises:
        UserError: two classes of one list have the same name.
    """
    old, new = _positions(learned, 'the checkpoint'), _positions(wanted, 'the data')
    return [(old[key], index) for key, index in new.items() if key in old]


def labels_in_data(learned: Sequence[str], asked: Sequence[str], file: str) -> list[int]:
    """Return the data's label for each label of a detector, -1 for a class that the data lacks. Log what differs.

    Args:
        file: name of the detector in messages.

    Raises:
        UserError: no class has the same name, or two classes of one list have.
    """
    if list(learned) == list(asked):
        return list(range(len(learned)))
    pairs = matching(learned, asked)
    if not pairs:
        raise UserError(f'{file} was trained on the classes {shorten(learned)}, but the data has {shorten(asked)}: no '
                        'class has the same name. Use data with classes of this detector')
    labels = [-1] * len(learned)
    for label, index in pairs:
        labels[label] = index
    LOGGER.info(f'classes of the data, and of {file}: '
                + ', '.join(f'{asked[index]} = {learned[label]}' for label, index in pairs))
    unknown = [name for index, name in enumerate(asked) if index not in labels]
    if unknown:
        LOGGER.warning(f'classes that the detector does not know, so it finds none of them: {shorten(unknown)}')
    if -1 in labels:
        LOGGER.info(f'{labels.count(-1)} of the detector\'s {len(learned)} classes are not in the data: their boxes do '
                    'not count')
    return labels


def _positions(names: Sequence[str], where: str) -> dict[str, int]:
    """Return each class's index, by its name in lower case without spaces, underscores and hyphens.

    Raises:
        UserError: two names become equal.
    """
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        key = re.sub(r'[\s_-]', '', name).casefold()
        if key in found:
            raise UserError(f'{where} has the classes {names[found[key]]!r} and {name!r}, which are one name after '
                            'case, spaces, underscores and hyphens: rename one of them')
        found[key] = index
    return found


def _text(learned: Sequence[str] | None, wanted: Sequence[str], targets: list[int], sources: list[int]) -> str:
    if learned is None:
        return 'classes: the file does not name its own, so the rows of all classes keep their initial values'
    if list(learned) == list(wanted):
        return ''
    pairs = [f'{wanted[target]} from {learned[source]}' for target, source in zip(targets, sources)]
    new = [name for index, name in enumerate(wanted) if index not in targets]
    notes = {'classes': ', '.join(pairs), 'new classes, untrained': shorten(new)}
    return '; '.join(f'{what}: {names}' for what, names in notes.items() if names)
