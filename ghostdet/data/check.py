"""Checks of a COCO-format split before a run, so that bad data stops it at once and not after hours."""
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

MAX_DROPPED = 0.01  # share of boxes without area or outside their image; above it the file as a whole is suspect
MANY_ODD = 0.2  # share of images of another size than recorded; above it the file belongs to other images
MANY_OUTSIDE = 0.2  # corners read as widths reach out of about half of all images; hand-made boxes of few
ORIENTATION = 0x0112  # EXIF tag; 5 to 8 are turned by 90 degrees
SHOWN = 8  # records named in a message; the rest is counted
CORNERS = ('COCO boxes are [x, y, width, height] in pixels: it looks as if corners [x1, y1, x2, y2] were written where width '
           'and height belong')
NORMALISED = 'COCO boxes are in pixels: it looks as if coordinates relative to the image size, from 0 to 1, were written'


@dataclass
class Checked:
    """What was found in one split.

    Attributes:
        content: the annotations that a run uses, without what was dropped or left out.
        changed: whether `content` differs from the file.
        dropped: boxes without area or wholly outside their image.
        bad: records that were left out on request.
        odd: images that have another size than their record says.
    """

    split: Split
    content: dict[str, Any]
    changed: bool = False
    filled: int = 0
    dropped: list[dict] = field(default_factory=list)
    bad: list[dict] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    @property
    def boxes(self) -> int:
        """Boxes to learn from or to find, crowd regions not counted."""
        return sum(not box.get('iscrowd') for box in self.content['annotations'])

    @property
    def unused(self) -> int:
        """Boxes of a train split that mmdet leaves out by rules of its own."""
        boxes = self.content['annotations'] if self.split.name == 'train' else []
        return sum(bool(box.get('ignore')) or min(box['bbox'][2:]) < 1 for box in boxes)

    def summary(self) -> str:
        """One line for people."""
        parts = [f'{self.split.name} split {self.split.annotations}: {len(self.content["images"])} images, {self.boxes} boxes, '
                 f'{len(self.content["categories"])} classes']
        if self.dropped:
            parts.append(f'{len(self.dropped)} boxes without area or outside their image dropped')
        if self.unused:
            parts.append(f'{self.unused} boxes are below a pixel or marked as ignore, and mmdet does not train on them')
        if self.bad:
            parts.append(f'{len(self.bad)} bad records left out, as --skip-bad asks')
        if self.filled:
            parts.append(f'area, iscrowd or id filled in for {self.filled} boxes')
        if self.odd:
            parts.append(f'ATTENTION: {len(self.odd)} images have another size than their record says, so their boxes are '
                         f'probably misplaced: {", ".join(self.odd[:3])}')
        return '; '.join(parts)


def check_split(split: Split, content: dict[str, Any], skip_bad: bool = False) -> Checked:
    """Open every image's header, and look at every record of a split.

    Args:
        content: of the split's annotation file.
        skip_bad: leave bad records out instead of refusing them.

    Raises:
        DataError: something is missing or wrong; the message names the file and the record.
    """
    bad, odd = bad_images(split, content['images'])
    sizes = {image['id']: (image['width'], image['height']) for image in without(content['images'], bad)}
    # A box of an image that is left out goes with it; it is no fault of its own.
    gone = {entry['record'].get('id') for entry in bad if isinstance(entry['record'], dict) and _is_id(entry['record'].get('id'))}
    bad += bad_boxes(split, content, sizes, gone)
    if bad and not skip_bad:
        raise DataError(_refusal(split, bad))
    if len(odd) > MANY_ODD * len(content['images']):
        raise DataError(f'{len(odd)} of {len(content["images"])} images of {split.annotations} have another size than their '
                        f'record says, as {", ".join(odd[:3])}: the boxes belong to other versions of the images.')
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
        raise DataError(f'{split.annotations} has no boxes{" that can be used" if bad or dropped else ""}: there is nothing to '
                        f'{"learn from" if split.name == "train" else "evaluate on"} in the {split.name} split.')
    return checked


def without(records: list[dict], bad: list[dict]) -> list[dict]:
    """`records` without those that `bad` names."""
    names = {id(entry['record']) for entry in bad}
    return [record for record in records if id(record) not in names]


# ---------------------------------------------------------------------------------------------------------------- images

def bad_images(split: Split, images: list[dict]) -> tuple[list[dict], list[str]]:
    """Image records that are malformed, repeated or without a readable file; and what is odd about the others."""
    problems = [_image_problem(image) for image in images]
    times = Counter(image['id'] for image, problem in zip(images, problems) if not problem)
    bad = []
    for index, (image, problem) in enumerate(zip(images, problems)):
        if not problem and times[image['id']] > 1:  # none of them is right: whose the boxes are cannot be told
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
    lacking = [key for key in ('id', 'file_name', 'width', 'height') if key not in image]
    if lacking:
        return f'has no {", ".join(lacking)}: {image!r}'
    if not (_is_id(image['id']) and isinstance(image['file_name'], str) and image['file_name']):
        return f'has an id or a file_name of a wrong kind: {image!r}'
    if not all(isinstance(image[key], int) and image[key] > 0 for key in ('width', 'height')):
        return f'has a size that is not in pixels: {image!r}'
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def read_headers(folder: Path, names: list[str]) -> tuple[dict[str, Sequence[int]], dict[str, str]]:
    """File name -> (width, height), and file name -> what is wrong for those that are missing or do not open.

    A set that was found good is remembered by names, sizes and times, and not opened again.
    """
    stamp, missing = _fingerprint(folder, names)
    memory = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'ghostdet' / 'checked' / f'{stamp}.json'
    if not missing:
        with contextlib.suppress(OSError, ValueError):  # a home that cannot be read costs a minute, not the run
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
        except (OSError, ValueError):  # ValueError: a name that no file can have
            missing.add(name)
    return digest.hexdigest(), missing


def _read_header(file: Path) -> tuple[int, int] | str:
    """(width, height) as the image is read for training, turned as its camera says; or what is wrong."""
    try:
        with Image.open(file) as image:
            # A PNG may keep EXIF behind its pixels, so that asking would read them all; cameras write none.
            turned = image.format != 'PNG' and image.getexif().get(ORIENTATION, 1) >= 5
            return image.size[::-1] if turned else image.size
    except Exception as error:  # noqa: BLE001  (Pillow raises many kinds for a damaged header; each means the same here)
        return f'the image does not open ({reason(error)})'


def write_json(file: Path, content: dict) -> None:
    """Write JSON so that no other process reads a half of it: all processes of a distributed run do this."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = beside(file)
    partial.write_text(json.dumps(content))
    partial.rename(file)


# ----------------------------------------------------------------------------------------------------------------- boxes

def bad_boxes(split: Split, content: dict, sizes: dict[int, tuple[int, int]], gone_images: set) -> list[dict]:
    """Annotation records that are malformed or name a category or an image that does not exist."""
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
        return f'{name}has no box of four numbers: {bbox!r}'
    if box.get('iscrowd', 0) not in (0, 1, None):
        return f'{name}has iscrowd {box["iscrowd"]!r}, which is neither 0 nor 1'
    if not _is_id(box.get('category_id')) or box['category_id'] not in categories:
        return f'{name}has category_id {box.get("category_id")!r}, which does not exist'
    if not _is_id(box.get('image_id')) or (box['image_id'] not in sizes and box['image_id'] not in gone_images):
        return f'{name}has image_id {box.get("image_id")!r}, which does not exist'
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e9 < value < 1e9  # not so NaN and inf


def touches(bbox: list[float], width: int, height: int) -> bool:
    """Whether a box [x, y, width, height] has an area and a part of it lies in the image."""
    x, y, w, h = bbox
    return w > 0 and h > 0 and x < width and y < height and x + w > 0 and y + h > 0


def _refuse_suspect_boxes(split: Split, boxes: list[dict], dropped: list[dict], sizes: dict, skip_bad: bool) -> None:
    """Stop where so many boxes are off that the file must be in another format."""
    guess = guess_format(boxes, sizes)
    if guess:  # then the boxes that could pass are wrong too, and leaving some out would not help
        examples = [box for box in boxes if _sticks_out(box, sizes)] or boxes
        raise DataError(f'{split.annotations}: the boxes are not COCO\'s, as {_named(examples)}. {guess}. Convert the file.')
    share = len(dropped) / max(1, len(boxes))
    if share > MAX_DROPPED and not skip_bad:
        raise DataError(f'{split.annotations}: {len(dropped)} of {len(boxes)} boxes ({share:.1%}) have no area or lie wholly '
                        f'outside their image, as {_named(dropped)}. {CORNERS}. Convert the file; or train without those boxes: '
                        '--skip-bad')


def guess_format(boxes: list[dict], sizes: dict[int, tuple[int, int]]) -> str | None:
    """What boxes were probably written instead of COCO's; None where they look like COCO's.

    As [x, y, width, height] many reach out of their image, but read as corners nearly all of them fit: by chance that
    does not happen to a set of any size.
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
    """The boxes with `area`, `iscrowd` and a unique `id` above 0, all of which COCO's evaluation reads.

    A box that has them is returned as it is. An id of 0 would count as "not found" in pycocotools.
    """
    ids = [box.get('id') for box in boxes]
    renumber = not all(isinstance(value, int) and value > 0 for value in ids) or len(set(ids)) < len(ids)
    complete = []
    for index, box in enumerate(boxes, 1):
        lacking: dict[str, Any] = {} if box.get('iscrowd') is not None else dict(iscrowd=0)
        if not _is_number(box.get('area')) or box['area'] <= 0:  # mmdet would drop the box without a word
            lacking['area'] = box['bbox'][2] * box['bbox'][3]
        if renumber:
            lacking['id'] = index
        complete.append({**box, **lacking} if lacking else box)
    return complete


# -------------------------------------------------------------------------------------------------------------- messages

def _refusal(split: Split, bad: list[dict]) -> str:
    lines = [f'  {entry["where"]}: {entry["problem"]}' for entry in bad[:SHOWN]]
    more = [f'  ... and {len(bad) - SHOWN} more'] if len(bad) > SHOWN else []
    return '\n'.join([f'{split.annotations} ({split.name} split) has {len(bad)} bad records:', *lines, *more,
                      'Mend them, or train without them: --skip-bad'])


def _named(boxes: Iterable[dict]) -> str:
    return ', '.join(f'id {box.get("id")} {box["bbox"]} of image {box["image_id"]}' for box in list(boxes)[:3])
