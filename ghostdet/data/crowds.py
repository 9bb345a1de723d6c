"""Crowd regions. Training and evaluation ignore them, so an object that is marked as one is lost silently."""
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any

from ghostdet.data.notes import Note, note, of_image

MAX_TIMES = 4  # areas of a median box, up to which a crowd region can be a single object
MAX_PIXELS = 2 ** 24  # of a mask that is decoded
CURE = '--crowds-are-objects makes all crowd regions objects'


def is_crowd(box: dict[str, Any]) -> bool:
    """Return whether a record is a crowd region; a difficult object of Pascal VOC is ignored, too, but is not one."""
    return box.get('iscrowd') == 1 and not box.get('difficult')


def ignored(boxes: Sequence[dict[str, Any]]) -> str:
    """Return the numbers of crowd regions and of difficult objects as text that follows the number of boxes."""
    crowds, all_ignored = sum(map(is_crowd, boxes)), sum(bool(box.get('iscrowd')) for box in boxes)
    counts = {'crowd regions': crowds, 'difficult objects': all_ignored - crowds}
    return ''.join(f', {count} {what}' for what, count in counts.items() if count)


def as_objects(annotations: list[Any]) -> tuple[list[Any], list[Note]]:
    """Return records with `iscrowd` 0 in place of 1, and a note on them. The input is not changed."""
    crowds = [isinstance(box, dict) and is_crowd(box) for box in annotations]
    changed = [{**box, 'iscrowd': 0} if crowd else box for box, crowd in zip(annotations, crowds)]
    return changed, note('crowd regions, taken as objects because of --crowds-are-objects',
                         (of_image(box) for box, crowd in zip(annotations, crowds) if crowd))


def crowd_hint(boxes: Sequence[dict[str, Any]]) -> str:
    """Return a sentence for the error that a split has no boxes; empty if not all records are crowd regions."""
    if not boxes or not all(map(is_crowd, boxes)):
        return ''
    return (f' All {len(boxes)} annotations are crowd regions (iscrowd 1), which training and evaluation ignore: if '
            f'they are objects, {CURE}.')


def suspect_crowds(boxes: Sequence[dict[str, Any]]) -> list[Note]:
    """Return a note on crowd regions that may be objects: many, or those that look like a single object.

    Such a region is one polygon, a mask in one piece, or without either, and its box is at most four times as large as
    the median box of its class.

    Args:
        boxes: records that passed the check.
    """
    crowds = [box for box in boxes if is_crowd(box)]
    if 2 * len(crowds) > len(boxes):
        return note(f'ATTENTION: more than half of the {len(boxes)} annotations are crowd regions (iscrowd 1), which '
                    f'training and evaluation ignore; if they are objects, {CURE}', map(of_image, crowds))
    single = [box for box in _small(crowds, boxes) if _is_in_one_piece(box.get('segmentation'))]
    attention = 'ATTENTION: ' * (2 * len(single) > len(crowds))  # COCO has a few such regions
    return note(f'{attention}crowd regions (iscrowd 1) that look like single objects, of {len(crowds)} crowd regions; '
                f'training and evaluation ignore them; if they are objects, {CURE}', map(of_image, single))


def _small(crowds: Sequence[dict], boxes: Sequence[dict]) -> list[dict]:
    classes = {box['category_id'] for box in crowds}
    objects, regions = defaultdict(list), defaultdict(list)
    for box in boxes:
        if box['category_id'] in classes and not box.get('iscrowd'):
            objects[box['category_id']].append(_area(box))
    for box in crowds:
        regions[box['category_id']].append(_area(box))
    limits = {key: MAX_TIMES * median(objects[key] or regions[key]) for key in classes}
    return [box for box in crowds if _area(box) <= limits[box['category_id']]]


def _area(box: dict) -> float:
    return box['bbox'][2] * box['bbox'][3]


def _is_in_one_piece(segmentation: Any) -> bool:
    """Return whether a segmentation is one polygon, a mask whose pixels touch each other, or missing."""
    if not segmentation:
        return True
    if not isinstance(segmentation, dict):
        return isinstance(segmentation, list) and len(segmentation) == 1
    import cv2
    from pycocotools import mask as masks
    try:
        height, width = segmentation['size']
        if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):  # pycocotools crashes on an empty mask
            return False
        compressed = (masks.frPyObjects(segmentation, height, width) if isinstance(segmentation['counts'], list)
                      else segmentation)
        # two labels: the background and one piece. The mask is turned, because OpenCV takes rows, not columns
        return cv2.connectedComponents(masks.decode(compressed).T, connectivity=8)[0] == 2
    except Exception:  # noqa: BLE001  (a damaged mask raises many types of errors, and nothing needs it)
        return False
