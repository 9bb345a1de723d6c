"""Find the splits of a data set that the user names, in whichever layout it is."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ghostdet.data.check import Change, Checked, check_split
from ghostdet.data.coco import Split, find_splits, read_annotations
from ghostdet.data.mend import mend
from ghostdet.data.recognise import Layout, recognise
from ghostdet.errors import DataError, UserError
from ghostdet.messages import LOGGER


@dataclass(frozen=True)
class Source:
    """One split of a data set.

    Attributes:
        split: its name, what messages name as its annotations, and its image folder.
        content: its records in COCO's format, corrected but not checked.
        changes: what was corrected.
        problems: what the reader of its layout left out: `where`, `problem`, `record`.
        converted: whether there is no file with `content`, so that a run has to write one.
    """

    split: Split
    content: dict[str, Any]
    changes: list[Change]
    problems: list[dict]
    converted: bool

    def check(self, skip_bad: bool = False) -> Checked:
        """Check every record and every image header.

        Raises:
            DataError: something is missing or wrong.
        """
        checked = check_split(self.split, self.content, skip_bad, self.problems)
        return replace(checked, changes=self.changes, changed=checked.changed or self.converted)


Reader = Callable[[], Source]


def read_source(split: Split) -> Source:
    """Read a split in COCO's format.

    Raises:
        DataError: its annotation file cannot be read.
    """
    return _mended(split, read_annotations(split))


def find_sources(root: Path | None, train_split: str | None = None, val_split: str | None = None,
                 **named: str | None) -> dict[str, Reader]:
    """Return functions that read the train split and, if there is one, the val split.

    Args:
        root: folder of the data set, in any layout that `recognise` knows.
        train_split, val_split: names of the splits, if not the usual ones.
        named: `train_ann`, `train_img`, `val_ann`, `val_img`: files in COCO's format.

    Raises:
        DataError: the data set is missing or in no known layout.
        UserError: the options contradict each other.
    """
    if any(named.values()) or root is None:
        if train_split or val_split:
            raise UserError('--train-split and --val-split choose splits of --data-root: leave out --train-ann, --train-img, '
                            '--val-ann and --val-img')
        return {name: partial(read_source, split) for name, split in find_splits(root, **named).items()}
    layout = recognise(root)
    val = val_split or (layout.val if layout.val != train_split else None)
    if val is not None and val == train_split:
        raise UserError(f'the split {val!r} cannot be for training and for validation: choose others with --train-split and '
                        '--val-split, or cut one off with --val-fraction')
    LOGGER.info(f'{root} is in the layout {layout.name}, with the splits {", ".join(layout.splits)}')
    readers: dict[str, Reader] = dict(train=partial(_read, layout, 'train', train_split))  # an evaluation does not call it
    if val is not None:
        readers['val'] = partial(_read, layout, 'val', val)
    return readers


def _read(layout: Layout, name: str, split: str | None) -> Source:
    """Read a split; None: the usual train split.

    Raises:
        DataError: it cannot be read, or has no annotations.
    """
    split = split or layout.train
    LOGGER.info(f'{name} split: {split}')
    found = layout.read(split)
    if not found.annotated:
        raise DataError(f'the split {split!r} of {layout.root} has no annotations: choose another one with --{name}-split'
                        + (', or cut one off with --val-fraction' if name == 'val' else ''))
    return _mended(Split(name, found.origin, found.images), found.content, found.problems, found.origin.suffix != '.json')


def _mended(split: Split, content: dict[str, Any], problems: Sequence[dict] = (), converted: bool = False) -> Source:
    mended = mend(content, split.images)
    return Source(split, mended.content, mended.changes, list(problems), converted or bool(mended.changes))
