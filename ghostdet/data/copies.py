"""Copy the images of a data set, and find images that are there twice: an AP on training images says little."""
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path

from ghostdet.data.checked import Checked
from ghostdet.data.notes import Note, note
from ghostdet.errors import DataError, UserError
from ghostdet.files import write_json
from ghostdet.progress import progress

ROUNDED = 1  # pixels by which two programs may write the same box differently
CUT_FROM = 'cut_from'  # key in the record of a tile: the file name of its image


def shared_images(first: Checked, second: Checked) -> list[Note]:
    """Return a note on images that are in both splits, unless both are the same split.

    Raises:
        DataError: the splits have different boxes for one image file.
    """
    _check_boxes(first, second)
    if first.split.annotations == second.split.annotations and first.content['images'] == second.content['images']:
        return []
    ours, theirs = _sizes(first), _sizes(second)
    both = set(ours.values()) & set(theirs.values())  # only files of equal size are read
    names = {_digest(first, name): name for name, size in ours.items() if size in both}
    pairs = ((names.get(_digest(second, name)), name) for name, size in theirs.items() if size in both)
    return note('ATTENTION: images that are in the train split, too, so the AP is too high',
                (f'{mine} = {name}' for mine, name in pairs if mine is not None))


def _check_boxes(first: Checked, second: Checked) -> None:
    """Check that two annotation files have the same boxes for an image that both name."""
    if first.split.annotations == second.split.annotations:
        return
    ours, theirs = _ids(first), _ids(second)
    both = [path for path in ours if path in theirs]
    mine, others = _boxes(first, {ours[path] for path in both}), _boxes(second, {theirs[path] for path in both})
    odd = [path for path in both if not _equal(mine[ours[path]], others[theirs[path]])]
    if odd:
        raise DataError(f'{first.split.annotations} and {second.split.annotations} have different boxes for '
                        f'{len(odd)} images with the same file name, such as {", ".join(odd[:3])}: one name stands for '
                        'two pictures, as in a CVAT project of several videos. Export each task by itself, or give the '
                        'images different names')


def _ids(checked: Checked) -> dict[str, int]:
    """Return path -> id of the images of a split."""
    folder = os.path.realpath(checked.split.images)
    return {os.path.normpath(os.path.join(folder, image['file_name'])): image['id']
            for image in checked.content['images']}


def _boxes(checked: Checked, images: set[int]) -> dict[int, list[tuple]]:
    """Return image id -> class and bbox of each of its boxes."""
    names = {category['id']: category['name'] for category in checked.content['categories']}
    boxes: dict[int, list[tuple]] = {image: [] for image in images}
    for box in checked.content['annotations']:
        if box['image_id'] in images:
            boxes[box['image_id']].append((names[box['category_id']], *box['bbox']))
    return boxes


def _equal(ours: list[tuple], theirs: list[tuple]) -> bool:
    """Return whether two lists have the same boxes, but for what programs round."""
    left = list(theirs)
    for mine in ours:
        same = next((other for other in left if other[0] == mine[0] and all(
            abs(one - two) <= ROUNDED for one, two in zip(mine[1:], other[1:]))), None)
        if same is None:
            return False
        left.remove(same)
    return not left


def content_groups(split: Checked) -> Callable[[dict], Hashable]:
    """Return a function that gives images with the same content, and tiles of one image, the same value."""
    sizes = _sizes(split)
    times = Counter(sizes.values())

    def group(image: dict) -> Hashable:
        name = image['file_name']
        if isinstance(image.get(CUT_FROM), str):
            return CUT_FROM, image[CUT_FROM]
        return _digest(split, name) if times[sizes[name]] > 1 else name
    return group


def _sizes(checked: Checked) -> dict[str, int]:
    """Return file name -> bytes of the images of a split."""
    return {image['file_name']: os.stat(checked.split.images / image['file_name']).st_size
            for image in checked.content['images']}


def _digest(checked: Checked, name: str) -> bytes:
    return hashlib.sha256((checked.split.images / name).read_bytes()).digest()


def write_coco(splits: list[Checked], out: Path, writer: Callable[[Checked, Path], dict] | None = None) -> None:
    """Write `annotations/instances_{train,val}2017.json`, `train2017/` and `val2017/`.

    Args:
        writer: writes the images of a split into a folder, and returns the content of its annotation file; None: copies
            them.

    Raises:
        UserError: `out` is not an empty folder.
        OSError: a file cannot be copied.
    """
    check_empty(out)
    for checked in splits:
        name = f'{checked.split.name}2017'
        write_json(out / f'annotations/instances_{name}.json', (writer or _copy)(checked, out / name))


def check_empty(out: Path) -> None:
    """Check that a data set can be written to a folder.

    Raises:
        UserError: `out` is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f'--out {out}: expected a folder that is empty or does not exist')


def target_of(image: dict) -> Path:
    """Return where a copy of an image lies in its folder."""
    target = Path(image['file_name'])
    return Path(f'{image["id"]}_{target.name}') if target.is_absolute() or '..' in target.parts else target


def _copy(checked: Checked, folder: Path) -> dict:
    records, images = checked.content['images'], []
    for image in progress(records, f'copying {folder.name}', len(records), unit='image'):
        target = target_of(image)
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checked.split.images / image['file_name'], folder / target)
        images.append(dict(image, file_name=target.as_posix()))
    return dict(checked.content, images=images)
