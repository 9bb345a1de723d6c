"""Find the splits of a data set that the user names, in whichever layout it is."""
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ghostdet.data.check import Checked, check_split
from ghostdet.data.coco import Split, find_splits, read_annotations
from ghostdet.data.cut import cut
from ghostdet.data.duplicates import content_groups
from ghostdet.data.mend import mend
from ghostdet.data.notes import Note
from ghostdet.data.recognise import Found, Layout, recognise
from ghostdet.errors import DataError, UserError
from ghostdet.messages import LOGGER


@dataclass(frozen=True)
class Source:
    """One split of a data set.

    Attributes:
        split: its name, what messages name as its annotations, and its image folder.
        content: its records in COCO's format, corrected but not checked.
        notes: what was corrected.
        problems: what the reader of its layout left out: `where`, `problem`, `record`.
        converted: whether there is no file with `content`, so that a run has to write one.
        upright: images are turned as their EXIF orientation says.
        annotated: whether it has annotations. COCO's test-dev has none.
    """

    split: Split
    content: dict[str, Any]
    notes: list[Note]
    problems: list[dict]
    converted: bool
    upright: bool = True
    annotated: bool = True

    def check(self, skip_bad: bool = False, unlabelled: bool = False) -> Checked:
        """Check every record and every image header.

        Args:
            unlabelled: accept a split without annotations.

        Raises:
            DataError: something is missing or wrong.
        """
        if not (self.annotated or unlabelled):
            raise DataError(f'the {self.split.name} split {self.split.annotations} has no annotations. Choose another '
                            f'one with --{self.split.name}-split or --{self.split.name}-ann; "ghostdet test" can '
                            'predict on this one')
        checked = check_split(self.split, self.content, skip_bad, self.problems, self.upright, self.annotated)
        return replace(checked, notes=self.notes + checked.notes, changed=checked.changed or self.converted)


Reader = Callable[[], Source]


def read_source(split: Split, upright: bool = True) -> Source:
    """Read a split in COCO's format. Only a train split must have annotations.

    Args:
        upright: images are turned as their EXIF orientation says.

    Raises:
        DataError: its annotation file cannot be read.
    """
    content = read_annotations(split, unlabelled=split.name != 'train')
    return _corrected(split, Found(content, split.images, split.annotations, annotated='annotations' in content),
                      upright)


def find_sources(root: Path | None, train_split: str | None = None, val_split: str | None = None, upright: bool = True,
                 **named: str | None) -> dict[str, Reader]:
    """Return functions that read the train split and, if there is one, the val split.

    Args:
        root: folder of the data set, in any layout that `recognise` knows.
        train_split, val_split: names of the splits, if not the usual ones.
        upright: images are turned as their EXIF orientation says.
        named: `train_ann`, `train_img`, `val_ann`, `val_img`: files in COCO's format.

    Raises:
        DataError: the data set is missing or in no known layout.
        UserError: the options contradict each other.
    """
    if any(named.values()) or root is None:
        if train_split or val_split:
            raise UserError('--train-split and --val-split choose splits of --data-root: leave out --train-ann, '
                            '--train-img, --val-ann and --val-img')
        return {name: partial(read_source, split, upright) for name, split in find_splits(root, **named).items()}
    layout = recognise(root)
    val = val_split or (layout.val if layout.val != train_split else None)
    if val is not None and val == train_split:
        raise UserError(f'the split {val!r} cannot be for training and for validation: choose others with '
                        '--train-split and --val-split, or cut one off with --val-fraction')
    LOGGER.info(f'{root} is in the layout {layout.name}, with the splits {", ".join(layout.splits)}')
    # An evaluation does not call the first.
    readers: dict[str, Reader] = dict(train=partial(_read, layout, 'train', train_split, upright))
    if val is not None:
        readers['val'] = partial(_read, layout, 'val', val, upright)
    return readers


def _read(layout: Layout, name: str, split: str | None, upright: bool) -> Source:
    """Read a split; None: the usual train split.

    Raises:
        DataError: it cannot be read.
    """
    split = split or layout.train
    LOGGER.info(f'{name} split: {split}')
    found = layout.read(split, upright)
    return _corrected(Split(name, found.origin, found.images), found, upright)


def _corrected(split: Split, found: Found, upright: bool) -> Source:
    mended = mend({'annotations': [], **found.content}, split.images, upright)
    converted = found.origin.suffix != '.json'
    return Source(split, mended.content, mended.notes, found.problems, converted or bool(mended.notes), upright,
                  found.annotated)


def check_val_fraction(val_fraction: float, *val: str | None) -> None:
    """Check that a val split is not cut off and named at once.

    Raises:
        UserError: it is.
    """
    if val_fraction and any(val):
        raise UserError('--val-fraction cuts the val split off the train split: leave out --val-split, --val-ann, '
                        '--val-img')


def part_of(whole: Checked, name: str, val_fraction: float, seed: int = 0) -> Checked:
    """Return one part of a train split that is cut in two by `cut`.

    Args:
        name: 'train'; any other name is the val part.
        val_fraction: share of the images of the val part.

    Raises:
        UserError: the fraction is not between 0 and 1, or there is nothing to cut off.
    """
    train, val = cut(whole.content, val_fraction, seed, content_groups(whole))
    split = replace(whole.split, name='train' if name == 'train' else 'val')
    part = train if name == 'train' else val
    return replace(whole, split=split, content=part, notes=list(whole.notes), changed=True)
