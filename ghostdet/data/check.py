"""Check a COCO-format split before a run, so that bad data stops the run at once and not after hours."""
import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ghostdet.data.coco import Split
from ghostdet.errors import DataError, reason
from ghostdet.files import beside
from ghostdet.progress import progress

MAX_DROPPED = 0.01  # share of boxes without area or outside their image; above it, the whole file is suspect
MANY_ODD = 0.2  # share of images whose size differs from their record; above it, the file belongs to other images
MANY_OUTSIDE = 0.2  # share of boxes that leave their image: about half if corners are read as widths, few if hand-drawn
ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 mean turned by 90 degrees
SHOWN = 8  # records that a message lists; it counts the rest
CORNERS = ('COCO boxes are [x, y, width, height] in pixels: these look like corners [x1, y1, x2, y2]')
NORMALISED = 'COCO boxes are in pixels: these look like coordinates from 0 to 1, relative to the image size'


@dataclass(frozen=True)
class Change:
    """One kind of change: what was done, how often, and the first examples."""

    what: str
    count: int
    examples: tuple[str, ...]

    def to_text(self) -> str:
        """Return one line."""
        more = ', ...' if self.count > len(self.examples) else ''
        return f'{self.what}: {self.count} ({", ".join(self.examples)}{more})'


@dataclass
class Checked:
    """Result of the checks of one split.

    Attributes:
        content: the annotations that a run uses, without dropped boxes and bad records.
        changed: whether `content` differs from the file.
        filled: number of boxes that got a missing `area`, `iscrowd` or `id`.
        dropped: boxes without area or entirely outside their image.
        bad: records that were left out because `skip_bad` was set.
        odd: images whose size differs from their record.
        changes: what was corrected before the check.
    """

    split: Split
    content: dict[str, Any]
    changed: bool = False
    filled: int = 0
    dropped: list[dict] = field(default_factory=list)
    bad: list[dict] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def boxes(self) -> int:
        """Number of boxes, without crowd regions."""
        return sum(not box.get('iscrowd') for box in self.content['annotations'])

    @property
    def empty(self) -> int:
        """Number of images without a box."""
        return len({image['id'] for image in self.content['images']}
                   - {box['image_id'] for box in self.content['annotations'] if not box.get('iscrowd')})

    @property
    def unused(self) -> int:
        """Number of boxes in a train split that mmdet ignores: marked as ignore, or smaller than a pixel."""
        boxes = self.content['annotations'] if self.split.name == 'train' else []
        return sum(bool(box.get('ignore')) or min(box['bbox'][2:]) < 1 for box in boxes)

    def summary(self) -> str:
        """Return one line of text for the user."""
        parts = [f'{self.split.name} split {self.split.annotations}: {len(self.content["images"])} images, {self.boxes} boxes, '
                 f'{len(self.content["categories"])} classes']
        if self.dropped:
            parts.append(f'dropped {len(self.dropped)} boxes without area or outside their image')
        if self.unused:
            parts.append(f'mmdet does not train on {self.unused} boxes that are smaller than a pixel or marked as ignore')
        if self.bad:
            parts.append(f'left out {len(self.bad)} bad records')
        if self.filled:
            parts.append(f'filled in a missing area, iscrowd or id for {self.filled} boxes')
        if self.odd:
            parts.append(f'ATTENTION: the size of {len(self.odd)} images differs from their record, so their boxes are '
                         f'probably misplaced: {", ".join(self.odd[:3])}')
        return '\n  '.join(['; '.join(parts), *(change.to_text() for change in self.changes)])


def check_split(split: Split, content: dict[str, Any], skip_bad: bool = False, problems: Sequence[dict] = ()) -> Checked:
    """Check every image header and every record of a split.

    Args:
        content: content of the split's annotation file.
        skip_bad: leave bad records out instead of raising an error.
        problems: records that the reader of the layout left out. They are bad records, unless they are few.

    Raises:
        DataError: something is missing or wrong; the message names the file and the record.
    """
    bad, odd = bad_images(split, content['images'])
    sizes = {image['id']: (image['width'], image['height']) for image in without(content['images'], bad)}
    # If an image is left out, its boxes are left out too; they are not bad records.
    gone = {entry['record'].get('id') for entry in bad if isinstance(entry['record'], dict) and _is_id(entry['record'].get('id'))}
    bad += bad_boxes(split, content, sizes, gone)
    few = len(problems) <= MAX_DROPPED * len(content['annotations'])
    if (bad or not few) and not skip_bad:
        raise DataError(_refusal(split, [*bad, *problems]))
    bad += problems
    if len(odd) > MANY_ODD * len(content['images']):
        raise DataError(f'{split.annotations}: the size of {len(odd)} of {len(content["images"])} images differs from their '
                        f'record (such as {", ".join(odd[:3])}). The boxes belong to other versions of the images: use those.')
    images, boxes = without(content['images'], bad), without(content['annotations'], bad)
    boxes = [box for box in boxes if box['image_id'] in sizes]
    dropped = [box for box in boxes if not touches(box['bbox'], *sizes[box['image_id']])]
    _refuse_suspect_boxes(split, boxes, dropped, sizes, skip_bad)
    boxes = without(boxes, [dict(record=box) for box in dropped])
    complete = fill_in(boxes)
    filled = sum(a is not b for a, b in zip(boxes, complete))
    used = dict(content, images=images, annotations=complete)
    checked = Checked(split, used, bool(bad or dropped or filled), filled, dropped, bad, odd)
    if not checked.boxes:
        raise DataError(f'{split.annotations} has no {"usable " if bad or dropped else ""}boxes: there is nothing to '
                        f'{"learn from" if split.name == "train" else "evaluate on"} in the {split.name} split.')
    return checked


def without(records: list[dict], bad: list[dict]) -> list[dict]:
    """Return `records` without the records in `bad`."""
    names = {id(entry['record']) for entry in bad}
    return [record for record in records if id(record) not in names]


# ---------------------------------------------------------------------------------------------------------------- images

def bad_images(split: Split, images: list[dict]) -> tuple[list[dict], list[str]]:
    """Return bad image records (malformed, duplicate id, unreadable file), and texts about images whose size differs."""
    problems = [_image_problem(image) for image in images]
    times = Counter(image['id'] for image, problem in zip(images, problems) if not problem)
    bad = []
    for index, (image, problem) in enumerate(zip(images, problems)):
        if not problem and times[image['id']] > 1:  # all are bad: it is unknown which image the boxes belong to
            problem = f'{times[image["id"]]} images have the id {image["id"]}'
        if problem:
            bad.append(dict(where=f'images[{index}]', problem=problem, record=image))
    sizes, unreadable = read_headers(split.images, sorted({image['file_name'] for image in without(images, bad)}))
    odd = []
    for image in without(images, bad):
        name = image['file_name']
        if name in unreadable:
            bad.append(dict(where=str(split.images / name), problem=unreadable[name], record=image))
        elif tuple(sizes[name]) != (image['width'], image['height']):
            odd.append(f'{name} is {sizes[name][0]}x{sizes[name][1]}, its record says {image["width"]}x{image["height"]}')
    return bad, odd


def _image_problem(image: Any) -> str | None:
    if not isinstance(image, dict):
        return f'is not a record: {image!r}'
    missing = [key for key in ('id', 'file_name', 'width', 'height') if key not in image]
    if missing:
        return f'has no {", ".join(missing)}: {image!r}'
    if not (_is_id(image['id']) and isinstance(image['file_name'], str) and image['file_name']):
        return f'has an id or a file_name of the wrong type: {image!r}'
    if not all(isinstance(image[key], int) and image[key] > 0 for key in ('width', 'height')):
        return f'has a width or height that is not a positive whole number: {image!r}'
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def read_headers(folder: Path, names: list[str]) -> tuple[dict[str, Sequence[int]], dict[str, str]]:
    """Return file name -> (width, height), and file name -> problem for files that are missing or do not open.

    A set without problems is cached by names, sizes and times, and not opened again.
    """
    stamp, missing = _fingerprint(folder, names)
    memory = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'ghostdet' / 'checked' / f'{stamp}.json'
    if not missing:
        with contextlib.suppress(OSError, ValueError):  # without a cache the check runs again
            return json.loads(memory.read_text()), {}
    present = [name for name in names if name not in missing]
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        headers = pool.map(_read_header, (folder / name for name in present))
        found = dict(progress(zip(present, headers), f'checking {folder.name}', len(present), leave=True, unit='image'))
    sizes = {name: header for name, header in found.items() if not isinstance(header, str)}
    problems = {name: header for name, header in found.items() if isinstance(header, str)}
    problems |= dict.fromkeys(missing, 'the image file is missing')
    if not problems:
        with contextlib.suppress(OSError):
            write_json(memory, sizes)
    return sizes, problems


def _fingerprint(folder: Path, names: list[str]) -> tuple[str, set[str]]:
    digest, missing = hashlib.sha256(str(folder.absolute()).encode()), set()
    for name in names:
        try:
            status = os.stat(folder / name)
            digest.update(f'{name} {status.st_size} {status.st_mtime_ns}\n'.encode())
        except (OSError, ValueError):  # ValueError: not a possible file name
            missing.add(name)
    return digest.hexdigest(), missing


def _read_header(file: Path) -> tuple[int, int] | str:
    """Return (width, height) as used in training, with the EXIF orientation applied; or the problem as text."""
    try:
        with Image.open(file) as image:
            # Not for PNG: its EXIF may come after the pixels, so this would read them all. Cameras do not write PNG.
            turned = image.format != 'PNG' and image.getexif().get(ORIENTATION, 1) >= 5
            return image.size[::-1] if turned else image.size
    except Exception as error:  # noqa: BLE001  (Pillow raises many kinds of errors for a damaged header)
        return f'the image does not open ({reason(error)})'


def write_json(file: Path, content: dict) -> None:
    """Write JSON so that other processes never read half of it. All processes of a distributed run write the same file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = beside(file)
    partial.write_text(json.dumps(content))
    partial.rename(file)


# ----------------------------------------------------------------------------------------------------------------- boxes

def bad_boxes(split: Split, content: dict, sizes: dict[int, tuple[int, int]], gone_images: set) -> list[dict]:
    """Return annotation records that are malformed, or refer to a category or an image that does not exist."""
    categories = {category['id'] for category in content['categories'] if isinstance(category, dict) and 'id' in category}
    bad = []
    for index, box in enumerate(content['annotations']):
        problem = _box_problem(box, categories, sizes, gone_images)
        if problem:
            bad.append(dict(where=f'annotations[{index}]', problem=problem, record=box))
    return bad


def _box_problem(box: Any, categories: set, sizes: dict, gone_images: set) -> str | None:
    if not isinstance(box, dict):
        return f'is not a record: {box!r}'
    name = f'(id {box.get("id")}) '
    bbox = box.get('bbox')
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(_is_number(value) for value in bbox)):
        return f'{name}has a bbox that is not a list of four finite numbers: {bbox!r}'
    if box.get('iscrowd', 0) not in (0, 1, None):
        return f'{name}has iscrowd {box["iscrowd"]!r}; expected 0 or 1'
    if not _is_id(box.get('category_id')) or box['category_id'] not in categories:
        return f'{name}has category_id {box.get("category_id")!r}, which does not exist'
    if not _is_id(box.get('image_id')) or (box['image_id'] not in sizes and box['image_id'] not in gone_images):
        return f'{name}has image_id {box.get("image_id")!r}, which does not exist'
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e9 < value < 1e9  # excludes NaN and inf


def touches(bbox: list[float], width: int, height: int) -> bool:
    """Return whether a box [x, y, width, height] has an area and overlaps the image."""
    x, y, w, h = bbox
    return w > 0 and h > 0 and x < width and y < height and x + w > 0 and y + h > 0


def _refuse_suspect_boxes(split: Split, boxes: list[dict], dropped: list[dict], sizes: dict, skip_bad: bool) -> None:
    """Raise an error if so many boxes are wrong that the file must be in another format."""
    guess = guess_format(boxes, sizes)
    if guess:  # then the other boxes are wrong too, so leaving some out would not help
        examples = [box for box in boxes if _sticks_out(box, sizes)] or boxes
        raise DataError(f'{split.annotations}: the boxes are not in COCO format, such as {_named(examples)}. {guess}. Convert '
                        'the file.')
    share = len(dropped) / max(1, len(boxes))
    if share > MAX_DROPPED and not skip_bad:
        raise DataError(f'{split.annotations}: {len(dropped)} of {len(boxes)} boxes ({share:.1%}) have no area or lie entirely '
                        f'outside their image, such as {_named(dropped)}. {CORNERS}. Convert the file, or leave out these boxes '
                        'with --skip-bad')


def guess_format(boxes: list[dict], sizes: dict[int, tuple[int, int]]) -> str | None:
    """Return a text that says which other format the boxes probably have; None if they look like COCO boxes.

    Boxes are corners if many of them leave their image when read as [x, y, width, height], but nearly all fit when read as
    corners. This does not happen by chance.
    """
    plain = [(box['bbox'], sizes[box['image_id']]) for box in boxes]
    few = MAX_DROPPED * len(plain)
    if plain and sum(max(map(abs, bbox)) > 1 for bbox, _ in plain) <= few:
        return NORMALISED
    fits = sum(0 <= x1 < x2 <= w + 1 and 0 <= y1 < y2 <= h + 1 for (x1, y1, x2, y2), (w, h) in plain)
    outside = sum(_sticks_out(box, sizes) for box in boxes)
    return CORNERS if len(plain) - fits <= few and outside > MANY_OUTSIDE * len(plain) else None


def _sticks_out(box: dict, sizes: dict[int, tuple[int, int]]) -> bool:
    (x, y, w, h), (width, height) = box['bbox'], sizes[box['image_id']]
    return x + w > width + 2 or y + h > height + 2


def fill_in(boxes: list[dict]) -> list[dict]:
    """Return the boxes with `area`, `iscrowd` and `id`, which COCO's evaluation needs. The input is not changed.

    An area that is missing or not positive becomes width x height of the box. A missing `iscrowd` becomes 0. If an id is missing,
    not positive or used twice, all boxes get new ids, from 1. pycocotools would count a box with id 0 as "not found".
    """
    ids = [box.get('id') for box in boxes]
    renumber = not all(isinstance(value, int) and value > 0 for value in ids) or len(set(ids)) < len(ids)
    complete = []
    for index, box in enumerate(boxes, 1):
        defaults: dict[str, Any] = {} if box.get('iscrowd') is not None else dict(iscrowd=0)
        if not _is_number(box.get('area')) or box['area'] <= 0:  # otherwise mmdet drops the box silently
            defaults['area'] = box['bbox'][2] * box['bbox'][3]
        if renumber:
            defaults['id'] = index
        complete.append({**box, **defaults} if defaults else box)
    return complete


# -------------------------------------------------------------------------------------------------------------- messages

def _refusal(split: Split, bad: list[dict]) -> str:
    lines = [f'  {entry["where"]}: {entry["problem"]}' for entry in bad[:SHOWN]]
    more = [f'  ... and {len(bad) - SHOWN} more'] if len(bad) > SHOWN else []
    return '\n'.join([f'{split.annotations} ({split.name} split) has {len(bad)} bad records:', *lines, *more,
                      'Fix them, or leave them out with --skip-bad'])


def _named(boxes: Iterable[dict]) -> str:
    return ', '.join(f'id {box.get("id")} {box["bbox"]} of image {box["image_id"]}' for box in list(boxes)[:3])
