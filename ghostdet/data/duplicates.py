"""Find images that are there twice: an AP on images that were trained on says little."""
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from pathlib import Path

from ghostdet.data.check import Checked
from ghostdet.data.notes import Note, note


def shared_images(first: Checked, second: Checked) -> list[Note]:
    """Return a note on images that are in both splits, unless both are the same split."""
    if first.split.images == second.split.images and first.content['images'] == second.content['images']:
        return []
    return note('ATTENTION: images that are in the train split, too, so the AP is too high',
                map(' = '.join, _same_files(first, second)))


def _same_files(first: Checked, second: Checked) -> list[tuple[str, str]]:
    """Return pairs of file names, one of each split, whose files have the same content.

    Only files of equal size are read.
    """
    by_size: dict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, split in enumerate((first, second)):
        for image in split.content['images']:
            by_size[os.stat(split.split.images / image['file_name']).st_size][side].append(image['file_name'])
    pairs = []
    for ours, theirs in by_size.values():
        if ours and theirs:
            digests = {_digest(first.split.images / name): name for name in ours}
            found = [(digests.get(_digest(second.split.images / name)), name) for name in theirs]
            pairs += [(mine, other) for mine, other in found if mine is not None]
    return pairs


def content_groups(split: Checked) -> Callable[[dict], Hashable]:
    """Return a function that gives image records of files with the same content the same value."""
    names = [image['file_name'] for image in split.content['images']]
    sizes = {name: os.stat(split.split.images / name).st_size for name in names}
    times = Counter(sizes.values())

    def group(image: dict) -> Hashable:
        name = image['file_name']
        return _digest(split.split.images / name) if times[sizes[name]] > 1 else name
    return group


def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()
