"""Read the JSON files of labelme, one for each image, as COCO content."""
import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ghostdet.data.coco import read_json
from ghostdet.data.file_names import is_file
from ghostdet.data.json_kinds import LABELME, kind_of
from ghostdet.data.outlines import OutlineRecord, bounds, ellipse, numbers, polygon
from ghostdet.data.yolo import file_name, split_folders
from ghostdet.errors import DataError
from ghostdet.messages import brief

FOLDERS = ('annotations', 'Annotations', 'labels', 'json', 'jsons', 'labelme')  # of JSON files without their images
IMAGES = ('images', 'JPEGImages', 'imgs')  # folders beside these
KINDS = ('rectangle', 'polygon', 'rotation', 'circle')  # shapes that have a box
Parsed = dict[Path, dict[str, Any] | str]  # a file's content, or why it cannot be read


def labelme_splits(root: Path) -> dict[str, list[Path]]:
    """Return split name -> its JSON files, sorted: of the folders `train`, `val`, ..., else all are for training.

    They lie beside the images, or in a folder of their own, such as `annotations`.
    """
    places = [root, *(root / name for name in FOLDERS)]
    folders = [(folder.name, inner) for place in places for folder in split_folders(place)
               for inner in (folder, *(folder / name for name in FOLDERS))]
    splits: dict[str, list[Path]] = {}
    for name, folder in folders:
        splits[name] = splits.get(name) or _files(folder)
    splits = {name: files for name, files in splits.items() if files}
    return splits or next((dict(train=files) for files in map(_files, places) if files), {})


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob('*.json'))
    return files if any(kind_of(file) == LABELME for file in files) else []


def parse_labelme(splits: dict[str, list[Path]]) -> Parsed:
    """Read the files of all splits, without the images in them."""
    return {file: _parse(file) for files in splits.values() for file in files}


def _parse(file: Path) -> dict[str, Any] | str:
    try:
        content = read_json(file)
    except DataError as error:
        return str(error)
    if not (isinstance(content, dict) and isinstance(content.get('shapes'), list)
            and isinstance(content.get('imagePath'), str)):
        return 'is not a file of labelme: expected shapes and imagePath'
    return {key: content.get(key) for key in ('shapes', 'imagePath', 'imageWidth', 'imageHeight')}


def labelme_classes(parsed: Parsed) -> list[str]:
    """Return the labels in all files, sorted, so that splits number them alike."""
    shapes = (shape for content in parsed.values() if isinstance(content, dict) for shape in content['shapes'])
    return sorted({_label(shape) for shape in shapes if _label(shape) and _kind(shape) in KINDS})


def _kind(shape: dict) -> Any:
    return shape.get('shape_type') or 'polygon'  # the first versions had polygons only


def _label(shape: Any) -> str:
    label = shape.get('label') if isinstance(shape, dict) else None
    return label.strip() if isinstance(label, str) else ''


def read_labelme(root: Path, files: Sequence[Path], parsed: Parsed,
                 classes: Sequence[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a split as COCO content, with file names relative to `root`, and a list of problems.

    - Of a rectangle, a polygon and a circle (its centre and a point on it), the box around it is used. A polygon stays
      as `segmentation`. Lines, points and masks are problems.
    - Shapes of one label with the same `group_id` are parts of one object: one box is around them.

    Returns:
        the content, and a problem (`where`, `problem`, `record`) for each file or shape that was left out.
    """
    ids = {name: index for index, name in enumerate(classes, 1)}
    images: dict[str, dict] = {}  # by file name
    boxes, problems = list[dict](), list[dict]()
    for file in files:
        content = parsed[file]
        name = '' if isinstance(content, str) else _image_of(root, file, content['imagePath'])
        if isinstance(content, str) or name in images:
            problem = content if isinstance(content, str) else (
                f'belongs to the image {name}, as another JSON file does: correct its imagePath')
            problems.append(dict(where=str(file), problem=problem, record=str(file)))
            continue
        images[name] = dict(id=len(images) + 1, file_name=name, width=content['imageWidth'],
                            height=content['imageHeight'])
        records, wrong = _objects(file, content['shapes'])
        boxes += [dict(record, category_id=ids[label], id=index, image_id=len(images), iscrowd=0)
                  for index, (label, record) in enumerate(records, len(boxes) + 1)]
        problems += wrong
    categories = [dict(id=index, name=name) for name, index in ids.items()]
    return dict(images=list(images.values()), annotations=boxes, categories=categories), problems


def _image_of(root: Path, file: Path, named: str) -> str:
    """Return the file name of an image: where `imagePath` says, else beside the JSON file, else in an image folder."""
    named = named.replace('\\', '/')
    name = PurePosixPath(named).name
    own = file.parent.relative_to(root).parts
    others = [root.joinpath(*(folder if part in FOLDERS else part for part in own)) for folder in (*IMAGES, '')]
    places = [(file.parent, named), *((folder, name) for folder in (file.parent, *others))]
    return next((file_name(root, folder / path) for folder, path in places if is_file(folder, path)), name)


def _objects(file: Path, shapes: list[Any]) -> tuple[list[tuple[str, OutlineRecord]], list[dict[str, Any]]]:
    """Return label and record of each object in a file, and the problems of the other shapes."""
    groups: dict[Any, list[OutlineRecord]] = {}  # by label and group; a shape without a group is its own
    wrong = []
    for number, shape in enumerate(shapes, 1):
        try:
            box = _box(shape)
        except ValueError as error:
            wrong.append(dict(where=f'{file}, shape {number}', problem=str(error), record=shape))
            continue
        group = shape.get('group_id')
        groups.setdefault((_label(shape), number if group is None else f'group {group}'), []).append(box)
    return [(label, _joined(parts)) for (label, _), parts in groups.items()], wrong


def _joined(parts: list[OutlineRecord]) -> OutlineRecord:
    """Return the record of an object of several parts."""
    corners = [(x, y, x + width, y + height) for x, y, width, height in (part['bbox'] for part in parts)]
    xs, ys = ([value for corner in corners for value in corner[axis::2]] for axis in (0, 1))
    outlines = [outline for part in parts for outline in part.get('segmentation', ())]
    if len(parts) == 1 or len(outlines) < len(parts):
        return parts[0] if len(parts) == 1 else bounds(xs, ys)
    return dict(bounds(xs, ys), area=sum(part['area'] for part in parts), segmentation=outlines)


def _box(shape: Any) -> OutlineRecord:
    """Return the box of a shape.

    Raises:
        ValueError: it has none or no label; the text is the problem.
    """
    if not _label(shape):
        raise ValueError(f'has no label: {brief(shape)}')
    kind = _kind(shape)
    if kind not in KINDS:
        raise ValueError(f'is a {brief(kind)}, which has no box')
    xs, ys = zip(*_points(shape.get('points')))
    if kind in ('polygon', 'rotation'):  # a turned rectangle, of X-AnyLabeling
        return polygon(xs, ys)
    if kind == 'rectangle':
        return bounds(xs, ys)
    if len(xs) != 2:
        raise ValueError(f'is a circle of {len(xs)} points: expected its centre and a point on it')
    radius = math.dist((xs[0], ys[0]), (xs[1], ys[1]))
    return ellipse(xs[0], ys[0], radius, radius)


def _points(points: Any) -> Iterator[list[float]]:
    if not (isinstance(points, list) and points and all(isinstance(one, list) and len(one) == 2 for one in points)):
        raise ValueError(f'has points that are not pairs of numbers: {brief(points)}')
    return map(numbers, points)
