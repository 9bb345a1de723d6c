"""Bring a data set's records into the form that training and evaluation need, and report every change."""
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ghostdet.data.checked import FROM_FILE
from ghostdet.data.file_names import images_below, is_file, matching_files
from ghostdet.data.notes import Note, note
from ghostdet.images.headers import read_headers
from ghostdet.messages import brief

LARGEST = 2 ** 31  # ids from here on are renumbered: pycocotools puts them into arrays of fixed width
LONGEST = 1000  # characters of a text that is read as a whole number; Python refuses some thousands
NUMBER = re.compile(r'[+-]?\d+(\.0*)?')


def clean(content: dict[str, Any], images: Path, upright: bool = True) -> list[Note]:
    """Correct what has one clear meaning: file names, sizes, ids, boxes as text, boxes of polygons, files that are
    listed twice.

    Other odd records stay, and the check names them. A record with a new id keeps the file's id as `original_id`.

    Args:
        content: an annotation file's content, with lists `images`, `annotations` and `categories`. It is changed: a set
            may have millions of records, of which a copy takes long.
        images: folder of the images.
        upright: the EXIF orientation is applied to images.

    Returns:
        notes on what was changed.
    """
    return [*_drop_root_category(content), *_find_files(content, images), *_fill_in_sizes(content, images, upright),
            *_clean_boxes(content), *_renumber(content, 'images', 'image_id'),
            *_renumber(content, 'categories', 'category_id'), *_merge_images(content)]


def _records(content: dict, key: str) -> list[dict]:
    return [record for record in content[key] if isinstance(record, dict)]


# ----------------------------------------------------------------------------------------------------------- categories

def _drop_root_category(content: dict) -> list[Note]:
    """Drop the category that Roboflow adds: the parent of all others, without a box."""
    categories = _records(content, 'categories')
    for root in categories:
        if not (isinstance(root.get('name'), str) and _is_id(root.get('id'))):
            continue  # class_names refuses it
        others = [other for other in categories if other is not root]
        is_parent = others and all(other.get('supercategory') == root['name'] for other in others)
        if is_parent and root.get('supercategory') in (None, '', 'none', 'None') and not _has_boxes(content, root):
            content['categories'] = [other for other in content['categories'] if other is not root]
            return note('category without boxes that is the parent of all others, left out', [root['name']])
    return []


def _has_boxes(content: dict, category: dict) -> bool:
    ids = (box.get('category_id') for box in _records(content, 'annotations'))
    return any(_is_id(value) and _loose(value) == _loose(category['id']) for value in ids)


# ----------------------------------------------------------------------------------------------------------- file names

def _find_files(content: dict, images: Path) -> list[Note]:
    """Replace names of missing files where exactly one file matches."""
    named = [image for image in _records(content, 'images') if isinstance(image.get('file_name'), str)]
    listed = set(os.listdir(images)) if os.access(images, os.R_OK) else set()
    missing = [image for image in named if image['file_name'] not in listed
               and not is_file(images, image['file_name'])]
    paths = images_below(images) if missing else {}
    changed = []
    for image in missing:
        matching = matching_files(image['file_name'], paths)
        if len(matching) == 1:
            changed.append(f'{image["file_name"]} -> {matching[0].as_posix()}')
            image['file_name'] = matching[0].as_posix()
    return note('file names that differ from the file on disk', changed)


# ---------------------------------------------------------------------------------------------------------------- sizes

def _fill_in_sizes(content: dict, images: Path, upright: bool) -> list[Note]:
    """Take a missing or unusable width and height from the image file; turn text and floats into whole numbers."""
    converted, missing, wrong, unusable = list[str](), list[str](), list[str](), defaultdict(list)
    for image in _records(content, 'images'):
        sides = [_number(image.get(side)) for side in ('width', 'height')]
        if not all(side is not None and side > 0 and side == int(side) for side in sides):
            unusable[_name(image)].append(image)
            (missing if None in (image.get('width'), image.get('height')) else wrong).append(_name(image))
        elif not (_is_whole(image['width']) and _is_whole(image['height'])):
            image['width'], image['height'] = (int(side) for side in sides if side is not None)
            converted.append(_name(image))
    there = sorted(name for name in unusable if is_file(images, name))
    headers = read_headers(images, there)[0] if there else {}
    for name, header in headers.items():
        width, height = header.size(upright)
        for image in unusable[name]:
            image.update({'width': width, 'height': height, FROM_FILE: True})
    return [*note('sizes given as text or with a decimal point, read as whole numbers', dict.fromkeys(converted)),
            *note('sizes that were missing, taken from the image file', dict.fromkeys(missing)),
            *note('sizes that were not positive whole numbers, taken from the image file', dict.fromkeys(wrong))]


def _name(image: dict) -> str:
    name = image.get('file_name')
    return name if isinstance(name, str) else brief(name)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    """Return a number that is given as a number or as text; None for anything else, and for NaN and infinity."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if -1e9 < number < 1e9 else None


# ---------------------------------------------------------------------------------------------------------------- boxes

def _clean_boxes(content: dict) -> list[Note]:
    texts, derived = [], []
    for box in _records(content, 'annotations'):
        bbox = box.get('bbox')
        if isinstance(bbox, list) and len(bbox) == 4 and str in map(type, bbox):
            numbers = [_number(value) for value in bbox]
            if None not in numbers:
                box['bbox'] = numbers
                texts.append(f'id {brief(box.get("id"))}')
        elif bbox is None or bbox == []:
            bounds = _bounds(box.get('segmentation'))
            if bounds is not None:
                box['bbox'] = bounds
                derived.append(f'id {brief(box.get("id"))}')
    return [*note('boxes given as text', texts), *note('boxes missing, taken from the segmentation', derived)]


def _bounds(segmentation: Any) -> list[float] | None:
    """Return the box [x, y, width, height] around polygons or a run-length mask; None if it is neither."""
    if isinstance(segmentation, dict):
        return _bounds_of_mask(segmentation)
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        return None
    values = [[_number(value) for value in polygon] for polygon in segmentation if polygon]
    if not values or any(None in polygon or len(polygon) < 6 or len(polygon) % 2 for polygon in values):
        return None
    xs = [float(value or 0) for polygon in values for value in polygon[::2]]
    ys = [float(value or 0) for polygon in values for value in polygon[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _bounds_of_mask(mask: dict) -> list[float] | None:
    """Return the box around a mask in COCO's uncompressed or compressed run-length form."""
    from pycocotools import mask as masks
    try:
        height, width = mask['size']
        if not (0 < height < LARGEST and 0 < width < LARGEST):  # pycocotools would divide by 0, which ends the process
            return None
        compressed = masks.frPyObjects(mask, height, width) if isinstance(mask['counts'], list) else mask
        return [float(value) for value in masks.toBbox(compressed)]
    except Exception:  # noqa: BLE001  (a damaged mask raises many types of errors; the check names the missing box)
        return None


# ------------------------------------------------------------------------------------------------------------------ ids

def _renumber(content: dict, key: str, reference: str) -> list[Note]:
    """Give records the ids 1, 2, ... if pycocotools cannot use one that they have, and change what refers to them."""
    records = [record for record in _records(content, key) if _is_id(record.get('id'))]
    odd = [record['id'] for record in records if not (_is_whole(record['id']) and 0 <= record['id'] < LARGEST)]
    boxes = [box for box in _records(content, 'annotations') if _is_id(box.get(reference))]
    strays = [box[reference] for box in boxes if type(box[reference]) is not int]
    if not odd and not strays:
        return []
    # Records that share an id share the new one: the check names them.
    exact = {key: index for index, key in enumerate(dict.fromkeys(_exact(record['id']) for record in records), 1)}
    times = Counter(_loose(value) for _, value in exact)
    loose = {_loose(value): index for (_, value), index in exact.items() if times[_loose(value)] == 1}
    for box in boxes:
        new = exact.get(_exact(box[reference]), loose.get(_loose(box[reference])))
        box[reference] = f'{brief(box[reference])} (no such id)' if new is None else new
    for record in records:
        record['original_id'], record['id'] = record['id'], exact[_exact(record['id'])]
    return note(f'ids of {key} that are no whole numbers from 0 to 2^31; {key} are renumbered' if odd else
                f'{reference} that are no whole numbers; {key} are renumbered', map(brief, odd or strays))


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and value == value  # NaN is no id


def _exact(value: Any) -> tuple[str, Any]:
    return ('text', value) if isinstance(value, str) else ('number', value)


def _loose(value: Any) -> str:
    """Return the same text for 2, 2.0, '2' and '02'."""
    text = str(value).strip()
    return str(int(text.partition('.')[0])) if len(text) < LONGEST and NUMBER.fullmatch(text) else text


def _merge_images(content: dict) -> list[Note]:
    """Merge images that are the same file under several ids: each would lack the boxes of the others."""
    first: dict[str, dict] = {}
    replaced = {}
    images = [image for image in _records(content, 'images') if _is_whole(image.get('id'))]
    times = Counter(image['id'] for image in images)
    for image in images:
        name = image.get('file_name')
        if isinstance(name, str) and name and times[image['id']] == 1:  # else the check names those that share the id
            same = first.setdefault(os.path.normpath(name), image)
            if same is not image:
                replaced[image['id']] = same
    if not replaced:
        return []
    content['images'] = [image for image in content['images']
                         if not (isinstance(image, dict) and _is_whole(image.get('id')) and image['id'] in replaced)]
    merged = {image['id'] for image in replaced.values()}
    seen, twice = set[str](), []
    for box in _records(content, 'annotations'):
        if _is_whole(box.get('image_id')) and box['image_id'] in replaced:
            box['image_id'] = replaced[box['image_id']]['id']
        if _is_whole(box.get('image_id')) and box['image_id'] in merged:
            record = repr([box.get(key) for key in ('image_id', 'category_id', 'bbox', 'iscrowd')])
            twice += [box] if record in seen else []
            seen.add(record)
    gone = set(map(id, twice))
    content['annotations'] = [box for box in content['annotations'] if id(box) not in gone]
    names = dict.fromkeys(image['file_name'] for image in replaced.values())
    return [*note('boxes that such a file has under each of its ids, taken once',
                  (f'id {brief(box.get("id"))}' for box in twice)),
            *note('files under several ids, merged into one image', names)]

