"""Find the splits of a data set that the user names, in whichever layout it is."""
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ghostdet.data.checked import Checked, Source
from ghostdet.data.clean import clean
from ghostdet.data.coco import Split, find_splits, read_annotations
from ghostdet.data.copies import content_groups
from ghostdet.data.crowds import as_objects
from ghostdet.data.cut import cut
from ghostdet.data.recognise import TRAIN, VAL, Layout, recognise
from ghostdet.errors import UserError
from ghostdet.messages import LOGGER

Reader = Callable[[], Source]


def read_source(split: Split, upright: bool = True) -> Source:
    """Read a split in COCO's format. Only a train split must have annotations.

    Args:
        upright: the EXIF orientation is applied to images.

    Raises:
        DataError: its annotation file cannot be read.
    """
    content = read_annotations(split, unlabelled=split.name != 'train')
    return _cleaned(Source(split, {'annotations': [], **content}, annotated='annotations' in content, upright=upright))


def find_sources(root: Path | None, train_split: str | None = None, val_split: str | None = None, upright: bool = True,
                 **named: str | None) -> dict[str, Reader]:
    """Return functions that read the train split and, if there is one, the val split.

    Args:
        root: folder of the data set, in any layout that `recognise` knows.
        train_split, val_split: names of the splits, if not the usual ones.
        upright: the EXIF orientation is applied to images.
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
    readers: dict[str, Reader] = dict(train=partial(_read, layout, 'train', train_split, upright, val))
    if val is not None:
        readers['val'] = partial(_read, layout, 'val', val, upright)
    return readers


def _read(layout: Layout, name: str, split: str | None, upright: bool, val: str | None = None) -> Source:
    """Read a split; None: the usual train split.

    Raises:
        DataError: it cannot be read.
    """
    split = split or layout.train
    LOGGER.info(f'{name} split: {split}')
    unused = [one for one in layout.splits if one.lower() not in (*TRAIN, *VAL) and one not in (split, val)]
    if unused and name == 'train':
        LOGGER.warning(f'not used: the images of {", ".join(unused)}. To train on them, too, add them to the split '
                       f'{split}')
    source = layout.read(split, upright)
    return _cleaned(replace(source, split=replace(source.split, name=name)))


def _cleaned(source: Source) -> Source:
    return replace(source, notes=[*source.notes, *clean(source.content, source.split.images, source.upright)])


def crowds_as_objects(source: Source) -> Source:
    """Return a split with its crowd regions as objects, and a note on them."""
    boxes, notes = as_objects(source.content['annotations'])
    return replace(source, content=dict(source.content, annotations=boxes), notes=[*source.notes, *notes])


def check_val_fraction(val_fraction: float, *val: str | None) -> None:
    """Check that a val split is not cut off and named at once.

    Raises:
        UserError: it is.
    """
    if val_fraction and any(val):
        raise UserError('--val-fraction cuts the val split off the train split: leave out --val-split, --val-ann, '
                        '--val-img')


def part_of(whole: Checked, name: str, val_fraction: float) -> Checked:
    """Return one part of a train split that is cut in two by `cut`.

    Args:
        name: 'train'; any other name is the val part.
        val_fraction: fraction of the images that the val part gets.

    Raises:
        UserError: the fraction is not between 0 and 1, or there is nothing to cut off.
    """
    train, val = cut(whole.content, val_fraction, groups=content_groups(whole))
    split = replace(whole.split, name='train' if name == 'train' else 'val')
    part = train if name == 'train' else val
    return replace(whole, split=split, content=part, notes=list(whole.notes), changed=True)
