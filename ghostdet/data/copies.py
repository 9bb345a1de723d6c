"""Copy the images of a data set, and find images that are there twice: an AP on training images says little."""
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path

from ghostdet.data.checked import Checked
from ghostdet.data.notes import Note, note
from ghostdet.errors import UserError
from ghostdet.files import write_json
from ghostdet.progress import progress


def shared_images(first: Checked, second: Checked) -> list[Note]:
    """Return a note on images that are in both splits, unless both are the same split."""
    if first.split.images == second.split.images and first.content['images'] == second.content['images']:
        return []
    ours, theirs = _sizes(first), _sizes(second)
    both = set(ours.values()) & set(theirs.values())  # only files of equal size are read
    names = {_digest(first, name): name for name, size in ours.items() if size in both}
    pairs = ((names.get(_digest(second, name)), name) for name, size in theirs.items() if size in both)
    return note('ATTENTION: images that are in the train split, too, so the AP is too high',
                (f'{mine} = {name}' for mine, name in pairs if mine is not None))


def content_groups(split: Checked) -> Callable[[dict], Hashable]:
    """Return a function that gives image records of files with the same content the same value."""
    sizes = _sizes(split)
    times = Counter(sizes.values())

    def group(image: dict) -> Hashable:
        name = image['file_name']
        return _digest(split, name) if times[sizes[name]] > 1 else name
    return group


def _sizes(checked: Checked) -> dict[str, int]:
    """Return file name -> bytes of the images of a split."""
    return {image['file_name']: os.stat(checked.split.images / image['file_name']).st_size
            for image in checked.content['images']}


def _digest(checked: Checked, name: str) -> bytes:
    return hashlib.sha256((checked.split.images / name).read_bytes()).digest()


def write_coco(splits: list[Checked], out: Path) -> None:
    """Write `annotations/instances_{train,val}2017.json`, `train2017/` and `val2017/`. Images are copied.

    Raises:
        UserError: `out` is not an empty folder.
        OSError: a file cannot be copied.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f'--out {out}: expected a folder that is empty or does not exist')
    for checked in splits:
        name, records = f'{checked.split.name}2017', checked.content['images']
        images = []
        for image in progress(records, f'copying {name}', len(records), unit='image'):
            target = Path(image['file_name'])
            if target.is_absolute() or '..' in target.parts:
                target = Path(f'{image["id"]}_{target.name}')
            (out / name / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checked.split.images / image['file_name'], out / name / target)
            images.append(dict(image, file_name=target.as_posix()))
        write_json(out / f'annotations/instances_{name}.json', dict(checked.content, images=images))
