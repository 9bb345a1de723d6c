"""Read the JSON files of the VGG Image Annotator (VIA), a project or its exported annotations, as COCO content."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostdet.data.coco import read_json
from ghostdet.data.notes import Note, note
from ghostdet.data.outlines import OutlineRecord, bounds, ellipse, numbers, polygon
from ghostdet.errors import DataError
from ghostdet.messages import brief, shorten

USUAL = ('class', 'label', 'name', 'type', 'category')  # names of the attribute that is the class; case does not matter
ONLY = 'object'  # the class of regions without any attribute


@dataclass(frozen=True)
class ViaClasses:
    """What VIA's regions say of classes.

    Attributes:
        attribute: the region attribute that is the class; None: regions have no attribute.
        names: its values, sorted.
        others: further attributes, which are not read.
    """

    attribute: str | None
    names: tuple[str, ...]
    others: tuple[str, ...] = ()


def via_records(file: Path) -> list[dict[str, Any]]:
    """Return the records of images in a file, each with a list of `regions`.

    Raises:
        DataError: it cannot be read or is not a file of VIA.
    """
    content = read_json(file)
    content = content.get('_via_img_metadata', content) if isinstance(content, dict) else None
    records: list[Any] = list(content.values()) if isinstance(content, dict) else [None]
    for record in records:
        if not (isinstance(record, dict) and isinstance(record.get('filename'), str)
                and isinstance(record.get('regions', []), (list, dict))):
            raise DataError(f'{file} is not a file of the VGG Image Annotator: expected records with filename and '
                            f'regions, got {brief(record)}.')
    return [dict(record, regions=_as_list(record.get('regions', []))) for record in records]


def _as_list(regions: list | dict) -> list[Any]:
    return list(regions.values()) if isinstance(regions, dict) else regions  # version 1 numbers them in a dict


# -------------------------------------------------------------------------------------------------------------- classes

def via_classes(records: Sequence[dict[str, Any]], root: Path) -> ViaClasses:
    """Find the attribute that is the class, in the records of all splits, so that they number the classes alike.

    Raises:
        DataError: there are several attributes, and none has a usual name.
    """
    regions = [_attributes(region) for record in records for region in record['regions']]
    values: dict[str, list[list[str]]] = {name: [_chosen(region.get(name)) for region in regions]
                                          for name in dict.fromkeys(name for region in regions for name in region)}
    used = [name for name, chosen in values.items() if any(chosen)]
    if not used:
        return ViaClasses(None, (ONLY,))
    usual = [name for want in USUAL for name in used if name.lower() == want]
    if all(values[name] == values[used[0]] for name in used):
        usual = used
    if not usual:
        raise DataError(f'{root} (VGG VIA): the regions have several attributes, {shorten(used)}, and it is unknown '
                        'which is the class. In VIA, name the one that is the class "class", or remove the others, and '
                        'export again.')
    others = tuple(name for name in used if values[name] != values[usual[0]])
    return ViaClasses(usual[0], tuple(sorted({name for chosen in values[usual[0]] for name in chosen})), others)


def _attributes(region: Any) -> dict[str, Any]:
    attributes = region.get('region_attributes') if isinstance(region, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _chosen(value: Any) -> list[str]:
    """Return the values of an attribute: one, but for checkboxes, which are a dict of value -> whether it is set."""
    values = [key for key, is_set in value.items() if is_set] if isinstance(value, dict) else [value]
    return [str(value).strip() for value in values if value is not None and str(value).strip()]


# -------------------------------------------------------------------------------------------------------------- regions

def read_via(file: Path, records: Sequence[dict[str, Any]],
             classes: ViaClasses) -> tuple[dict[str, Any], list[dict[str, Any]], list[Note]]:
    """Return a split as COCO content, a list of problems, and notes.

    - A rectangle is a box; of polygons, polylines, circles and ellipses the box around them is used. A polygon stays as
      `segmentation`. A point is a problem.
    - If there is one class, regions without a value have it, and a note says so. Else they are a problem.
    - VIA writes no image sizes.

    Args:
        file: for messages.
        records: from `via_records`.

    Returns:
        the content, a problem (`where`, `problem`, `record`) for each region that was left out, and notes.
    """
    ids = {name: index for index, name in enumerate(classes.names, 1)}
    boxes, problems, unnamed = list[dict](), list[dict](), list[str]()
    for image_id, record in enumerate(records, 1):
        for number, region in enumerate(record['regions'], 1):
            where = f'{file}, {record["filename"]}, region {number}'
            try:
                names = _names(region, classes)
                box = _box(region.get('shape_attributes'))
            except ValueError as error:
                problems.append(dict(where=where, problem=str(error), record=region))
                continue
            unnamed += [] if names else [f'{record["filename"]}, region {number}']
            name = names[0] if names else classes.names[0]
            boxes.append(dict(box, id=len(boxes) + 1, image_id=image_id, category_id=ids[name], iscrowd=0))
    images = [dict(id=index, file_name=record['filename']) for index, record in enumerate(records, 1)]
    categories = [dict(id=index, name=name) for name, index in ids.items()]
    return (dict(images=images, annotations=boxes, categories=categories), problems,
            [*note(f'region attributes that are not read; the class is "{classes.attribute}"', classes.others),
             *note(f'regions without a class, taken as "{classes.names[0]}", the only one', unnamed)])


def _names(region: Any, classes: ViaClasses) -> list[str]:
    """Return the class of a region, in a list that is empty if it has none and there is only one.

    Raises:
        ValueError: it has several, or none of several.
    """
    if not isinstance(region, dict):
        raise ValueError(f'is not a record: {brief(region)}')
    names = _chosen(_attributes(region).get(classes.attribute or ''))
    if len(names) > 1 or (not names and len(classes.names) > 1):
        raise ValueError(f'has {" and ".join(names) or "nothing"} as {classes.attribute}: expected one class')
    return names


def _box(shape: Any) -> OutlineRecord:
    """Return the box of a region.

    Raises:
        ValueError: it has none; the text is the problem.
    """
    shape = shape if isinstance(shape, dict) else {}
    kind = shape.get('name')
    if kind == 'rect':
        x, y, width, height = numbers([shape.get(key) for key in ('x', 'y', 'width', 'height')])
        return bounds([x, x + width], [y, y + height])
    if kind in ('circle', 'ellipse'):
        radii = ('r', 'r') if kind == 'circle' else ('rx', 'ry')
        return ellipse(*numbers([shape.get(key) for key in ('cx', 'cy', *radii)]), *numbers([shape.get('theta', 0)]))
    if kind in ('polygon', 'polyline'):
        lists = [shape.get(f'all_points_{axis}') for axis in 'xy']
        xs, ys = (numbers(values) if isinstance(values, list) else [] for values in lists)
        return polygon(xs, ys) if kind == 'polygon' else bounds(xs, ys)
    raise ValueError(f'is a {brief(kind)}, which has no box')
