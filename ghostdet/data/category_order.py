"""Match the categories of annotation files by name: a label is an index into the list of one file."""
from collections.abc import Sequence
from dataclasses import replace

from ghostdet.data.checked import Source
from ghostdet.data.coco import class_names
from ghostdet.data.notes import note
from ghostdet.errors import DataError
from ghostdet.messages import brief


def match_classes(sources: dict[str, Source]) -> dict[str, Source]:
    """Return the splits, with the categories of val in the order of train.

    Raises:
        DataError: train and val have different categories, or the categories of a split are not valid.
    """
    names = {name: class_names(source.content, source.split.annotations) for name, source in sources.items()}
    if not {'train', 'val'} <= sources.keys():
        return sources
    train, val = set(names['train']), set(names['val'])
    if train == val:
        return dict(sources, val=in_order(sources['val'], names['train'], 'the train split'))
    pairs = spelled_alike(sorted(train - val), sorted(val - train))
    what = [f'train has {brief(mine)}, val has {brief(other)}: they differ only by case or spaces'
            for mine, other in pairs]
    for split, only in dict(train=train - val, val=val - train).items():
        rest = sorted(only - {name for pair in pairs for name in pair})
        what += [f'only {split} has {", ".join(rest)}'] if rest else []
    raise DataError(f'{sources["train"].split.annotations} and {sources["val"].split.annotations} do not list the same '
                    f'categories ({"; ".join(what)}). Make both lists equal.')


def spelled_alike(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of names that differ only by case or spaces.

    >>> spelled_alike(['Cat', 'dog'], ['cow', 'cat '])
    [('Cat', 'cat ')]
    """
    keys = {''.join(name.split()).casefold(): name for name in second}
    found = ((name, keys.get(''.join(name.split()).casefold())) for name in first)
    return [(name, other) for name, other in found if other is not None]


def in_order(source: Source, names: Sequence[str], where: str) -> Source:
    """Return a split with its categories in the order of `names`, and a note if it had another. Ids stay.

    Categories that are not in `names` come last, in their order.

    Args:
        names: categories that the split has.
        where: what has this order.
    """
    categories, rank = source.content['categories'], {name: index for index, name in enumerate(names)}
    given = [category['name'] for category in categories if category['name'] in rank]
    if given == list(names):
        return source
    ordered = sorted(categories, key=lambda category: rank.get(category['name'], len(rank)))
    moved = (name for name, wanted in zip(given, names) if name != wanted)
    return replace(source, content=dict(source.content, categories=ordered), notes=[
        *source.notes, *note(f'categories in another order than in {where}, matched by name', moved)])
