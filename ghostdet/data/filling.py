"""Fill in what annotation records lack for COCO's evaluation."""
from collections import Counter
from typing import Any

from ghostdet.data.notes import Note, note, of_image

LARGEST = 2 ** 53  # ids of boxes from here on are renumbered: floats do not tell them apart. COCO has some above 2^31


def fill_in(boxes: list[dict]) -> tuple[list[dict], list[Note]]:
    """Return the boxes with `area`, `iscrowd` and `id`, which COCO's evaluation needs, and notes on what was missing.

    The input is not changed. An area that is missing or not positive becomes width x height of the box. A missing
    `iscrowd` becomes 0. If an id is missing, not positive, too large for a float or used twice, all boxes get new ids,
    from 1. pycocotools puts ids into arrays of floats, and would count a box with id 0 as "not found".
    """
    odd_ids = _odd_ids(boxes)
    complete, no_area, no_crowd = [], [], []
    for index, box in enumerate(boxes, 1):
        defaults: dict[str, Any] = dict(id=index) if odd_ids else {}
        if box.get('iscrowd') is None:
            defaults['iscrowd'] = 0
            no_crowd.append(box)
        if not is_number(box.get('area')) or box['area'] <= 0:  # otherwise mmdet drops the box silently
            defaults['area'] = box['bbox'][2] * box['bbox'][3]
            no_area.append(box)
        complete.append({**box, **defaults} if defaults else box)
    return complete, [*note('areas that were missing or not positive, computed from the box', map(of_image, no_area)),
                      *note('iscrowd that was missing, set to 0', map(of_image, no_crowd)), *odd_ids]


def _odd_ids(boxes: list[dict]) -> list[Note]:
    """Return a note for each thing that is wrong with ids of boxes."""
    ids = [box.get('id') for box in boxes]
    if all(type(value) is int and 0 < value < LARGEST for value in ids) and len(set(ids)) == len(ids):
        return []
    kinds: dict[str, list[str]] = {}
    for box, value in zip(boxes, ids):
        kind = ('are missing' if value is None else 'are not whole numbers' if type(value) is not int else
                'are 0' if value == 0 else 'are negative' if value < 0 else
                'are too large' if value >= LARGEST else '')
        if kind:
            kinds.setdefault(kind, []).append(of_image(box))
    times = Counter(value for value in ids if type(value) is int and 0 < value < LARGEST)
    kinds['several boxes share'] = [f'id {value}' for value, number in times.items() if number > 1]
    return [one for kind, names in kinds.items()
            for one in note(f'ids of boxes that {kind}, so all boxes are renumbered', names)]


def is_number(value: Any) -> bool:
    """Return whether a value is a number below a billion; NaN and infinity are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e9 < value < 1e9
