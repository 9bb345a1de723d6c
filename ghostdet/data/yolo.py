"""Read a data set in YOLO's layout as COCO content: a text file of boxes or polygons per image, and `data.yaml`."""
import contextlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from ghostdet.data.checked import FROM_FILE
from ghostdet.data.outlines import OutlineRecord, polygon
from ghostdet.errors import DataError, reason
from ghostdet.files import read_lines
from ghostdet.images.headers import read_headers
from ghostdet.images.listing import image_files, is_image
from ghostdet.messages import LOGGER, shorten

YAMLS = ('data.yaml', 'data.yml', 'dataset.yaml')
SPLIT = re.compile(r'(train|trainval|val|valid|validation|test)\d*')  # folder names that are splits
OTHER_NAMES = dict(valid='val', validation='val')
TOLERANCE = 1e-3  # how far a coordinate may lie outside 0 to 1: rounding in the program that wrote it
MAX_CLASSES = 100_000  # more is a slip: each gets a record
MAX_TEXT = 60  # characters of a wrong value that a message shows


def is_yolo(root: Path) -> bool:
    """Return whether `root` has a YAML file or folders as YOLO has them."""
    if any((root / name).is_file() for name in YAMLS):
        try:
            if any(_settings(root).get(key) for key in ('names', 'nc', 'train')):
                return True
        except DataError:
            return True  # reading it then says what is wrong
    if (root / 'classes.txt').is_file() and any(map(is_image, root.iterdir())):
        return True  # all in one folder
    return any((folder / 'images').is_dir() and (folder / 'labels').is_dir() and not _are_others(folder / 'labels')
               for folder in [root, *split_folders(root)])


def _are_others(labels: Path) -> bool:
    """Return whether the labels in a folder are those of other layouts: XML or JSON files, and no text files."""
    return not any(labels.rglob('*.txt')) and any(file for end in ('xml', 'json') for file in labels.rglob(f'*.{end}'))


# --------------------------------------------------------------------------------------------------------------- splits

def yolo_splits(root: Path) -> dict[str, list[Path]]:
    """Return split name ('valid' is called 'val') -> its images, sorted. Only a split with images is listed.

    `train`, `val` and `test` in the YAML file are folders, text files that list images, or lists of these. They are
    relative to `path`, else to the YAML file. If there is nothing, leading `../` are left out: Roboflow writes them.
    Without a YAML file, or if it names no images, the folders `images/train` or `train/images` are the splits.

    Raises:
        DataError: a split is named and its images are missing (a missing test split is left out), or there are no
        images.
    """
    content = _settings(root)
    splits = {}
    for key in ('train', 'val', 'valid', 'test'):
        entries = _entries(root, content, key)
        files = _images_of(root, content, key, entries) if entries else []
        if files:
            splits[OTHER_NAMES.get(key, key)] = files
    splits = splits or _splits_by_folder(root)
    if not splits:
        raise DataError(f'{root} has no images where YOLO has them. Looked for train: and val: in '
                        f'{" or ".join(YAMLS)}, and for images in images/train, train/images and images.')
    return splits


def yaml_file(root: Path) -> Path | None:
    """Return the file that names splits and classes, if there is one."""
    return next((root / name for name in YAMLS if (root / name).is_file()), None)


class _Loader(yaml.BaseLoader):
    """Reads every value as text, and refuses a mapping with a key twice: only the last value would be read."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """Return a mapping."""
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise ValueError('a key is there twice')
        return mapping


def _settings(root: Path) -> dict[str, Any]:
    """Return what the YAML file says, with every value as text: YAML would read the class name `no` as false."""
    file = yaml_file(root)
    if file is None:
        return {}
    try:
        content = yaml.load(file.read_text('utf-8-sig'), _Loader)
    except (OSError, ValueError, OverflowError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f'{file} cannot be read as YAML ({reason(error)}).') from None
    if not isinstance(content, dict):
        raise DataError(f'{file} is not a YOLO data set: expected keys such as train, val and names.')
    return content


def _entries(root: Path, content: dict[str, Any], key: str) -> list[str]:
    value = content.get(key)
    entries: list[Any] = value if isinstance(value, list) else [value]
    entries = [entry for entry in entries if entry not in (None, '', '~', 'null')]
    if not all(isinstance(entry, str) for entry in entries):
        raise DataError(f'{yaml_file(root)}: {key} is neither a path nor a list of paths.')
    return entries


def _images_of(root: Path, content: dict[str, Any], key: str, entries: list[str]) -> list[Path]:
    """Return the images of a split as the YAML file names them."""
    paths = _entries(root, content, 'path')
    bases = [*(root / path for path in paths[:1] if os.path.isdir(root / path)), root]
    files: set[str] = set()
    for entry in entries:
        path = next((path for path in _candidates(entry, bases) if os.path.exists(path)), None)
        if path is None and key == 'test':  # Roboflow names a test split also if there is none
            continue
        if path is None:
            looked = dict.fromkeys(os.path.abspath(path) for path in _candidates(entry, bases))
            raise DataError(f'{yaml_file(root)}: {key}: {entry[:MAX_TEXT]} does not exist. Looked for '
                            f'{", ".join(looked)}. Correct {key}: or path: in this file.')
        if path not in [base / entry for base in bases]:
            LOGGER.info(f'{yaml_file(root)}: {key}: {entry[:MAX_TEXT]} is not there; {path} is taken')
        images = image_files(path, unread=True) if path.is_dir() else _listed(path, bases)
        files |= {os.path.abspath(file) for file in images}
    if not files and key != 'test':
        raise DataError(f'{yaml_file(root)}: {key}: {shorten(entries)} has no images. Correct {key}: in this file.')
    return sorted(map(Path, files))


def _candidates(entry: str, bases: Sequence[Path]) -> Iterator[Path]:
    """Yield where a path may be: as written first, then without leading `../`, then without the folders of another
    machine.

    The folder `images` alone is not looked for: all splits may be below it.
    """
    entry = entry.replace('\\', '/')
    inside = re.sub(r'^(\.\.?/)+', '', entry)
    parts = [part for part in inside.split('/') if part]
    shorter = ['/'.join(parts[start:]) for start in range(1, len(parts))]
    for name in dict.fromkeys((entry, inside, *(name for name in shorter if name != 'images'))):
        yield from dict.fromkeys(base / name for base in bases)


def _listed(file: Path, bases: Sequence[Path]) -> list[Path]:
    """Return the images that a text file lists, also those that do not exist: reading them is the problem."""
    paths = [list(_candidates(line, [file.parent, *bases])) for line in read_lines(file, 'the list of images') if line]
    return [next(filter(os.path.isfile, options), options[0]) for options in paths]


def _splits_by_folder(root: Path) -> dict[str, list[Path]]:
    inner = {folder.name: folder for folder in split_folders(root / 'images')}
    outer = {folder.name: folder / 'images' for folder in split_folders(root) if (folder / 'images').is_dir()}
    one = root if (root / 'classes.txt').is_file() and not (root / 'images').is_dir() else root / 'images'
    folders = inner | outer or {'train': one}
    splits = {name: image_files(Path(os.path.abspath(folder)), unread=True) for name, folder in folders.items()}
    return {OTHER_NAMES.get(name, name): files for name, files in splits.items() if files}


def split_folders(folder: Path) -> list[Path]:
    """Return the subfolders that have the name of a split, train before val."""
    paths = [path for path in folder.iterdir() if SPLIT.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(path for path in paths if path.is_dir())


# -------------------------------------------------------------------------------------------------------------- classes

def yolo_names(root: Path) -> dict[int, str]:
    """Return class index -> name, from `names` in the YAML file, else from classes.txt.

    Without both, the classes are 'class 0', 'class 1', ...: as many as `nc` says, else those in the label files of all
    splits.

    Raises:
        DataError: `names` is not a list or a mapping of numbers to names, or `nc` is another number.
    """
    content, file = _settings(root), yaml_file(root)
    names = _named(file, content.get('names'))
    number = _count(file, content['nc']) if content.get('nc') else None
    names = names or _names_in_text(root)
    if names and number not in (None, len(names)):
        raise DataError(f'{file}: nc is {number}, but there are {len(names)} names ({shorten(list(names.values()))}). '
                        'Correct one of them.')
    used = range(number) if number is not None else _used(root) if not names else ()
    return names or {index: f'class {index}' for index in used}


def _named(file: Path | None, names: Any) -> dict[int, str]:
    try:
        entries = enumerate(names) if isinstance(names, list) else (names or {}).items()
        pairs = [(int(key), name) for key, name in entries]
    except (AttributeError, ValueError):
        raise DataError(f'{file}: names is neither a list nor a mapping of class numbers to names.') from None
    wrong = [index for index, name in pairs
             if not (isinstance(name, str) and name.strip() and 0 <= index < MAX_CLASSES)]
    if wrong or len(dict(pairs)) < len(pairs):
        raise DataError(f'{file}: names has an entry that is not one class number and one name: '
                        f'{wrong[0] if wrong else "a number twice"}.')
    return {index: name.strip() for index, name in sorted(pairs)}


def _count(file: Path | None, text: Any) -> int:
    try:
        number = int(text)
    except (TypeError, ValueError):
        number = 0
    if not 0 < number <= MAX_CLASSES:
        raise DataError(f'{file}: nc is not a number of classes from 1 to {MAX_CLASSES}.')
    return number


def _names_in_text(root: Path) -> dict[int, str]:
    file = next((file for file in (root / 'classes.txt', root / 'labels/classes.txt') if file.is_file()), None)
    if file is None:
        return {}
    lines = '\n'.join(read_lines(file, 'the list of classes')).rstrip().splitlines()
    return {index: line or f'class {index}' for index, line in enumerate(lines)}


def _used(root: Path) -> list[int]:
    """Return the class indexes in the label files of all splits. Wrong lines are skipped; `read_yolo` reports them."""
    used = set()
    for file in {file for files in yolo_splits(root).values() for file in files}:
        label = label_file(file)
        with contextlib.suppress(DataError):
            for line in read_lines(label, 'the label file') if label else ():
                with contextlib.suppress(ValueError, IndexError):
                    used.add(_index(line.split()[0]))
    return sorted(used)


# --------------------------------------------------------------------------------------------------------------- labels

def _lines_of(label: Path) -> tuple[list[str], str | None]:
    """Return the lines of a label file, and why it cannot be read; None if it can."""
    try:
        return read_lines(label, 'the label file'), None
    except DataError as error:
        return [], str(error)


def _record(name: str, size: tuple[int, int], number: int) -> dict[str, Any]:
    return {'id': number, 'file_name': name, 'width': size[0], 'height': size[1], FROM_FILE: True}


def read_yolo(root: Path, files: Sequence[Path], names: dict[int, str],
              upright: bool = True) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return images and their labels as COCO content, and a list of problems.

    - A line of 5 numbers is a class and a box (centre, width, height), relative to the image. Keypoints that follow
      (`kpt_shape` in the YAML file) are left out.
    - A line of 7, 9, ... numbers is a class and a polygon: it becomes a segmentation, with its bounds as box.
    - A line of 6 numbers is a problem. The sixth is a confidence or a track: the file holds predictions, not labels.
    - An image without a label file has no boxes.
    - Category ids are class indexes + 1.

    Args:
        root: folder that file names are relative to. The name of an image elsewhere is absolute.
        names: class index -> name.
        upright: the EXIF orientation is applied to images.

    Returns:
        the content, and a problem (`where`, `problem`, `record`) for each image, line or folder that was left out.
    """
    keypoints = _keypoint_numbers(root)
    headers, unreadable = read_headers(root, sorted({file_name(root, file) for file in files}))
    images, boxes, problems, owners = list[dict](), list[dict](), list[dict](), dict[Path, Path]()
    for file in files:
        name, label = file_name(root, file), label_file(file)
        where, problem, lines = file, unreadable.get(name), list[str]()
        if label is not None and owners.setdefault(label, file) != file:
            where, problem = label, f'is the label file of {owners[label].name} and of {file.name}: rename one image'
        elif label is not None and not problem:
            lines, problem = _lines_of(label)
            where = label if problem else file
        if problem:
            problems.append(dict(where=str(where), problem=problem, record=str(file)))
            continue
        size = headers[name].size(upright)
        images.append(_record(name, size, len(images) + 1))
        records, wrong = _labels(label, lines, size, names, keypoints)
        boxes += [dict(id=index, image_id=len(images), **box) for index, box in enumerate(records, len(boxes) + 1)]
        problems += wrong
    categories = [dict(id=index + 1, name=name) for index, name in names.items()]
    return dict(images=images, annotations=boxes, categories=categories), problems + _without_image(files)


def file_name(root: Path, file: Path) -> str:
    """Return the `file_name` of an image: relative to `root` if it is below it, else absolute."""
    path, folder = Path(os.path.abspath(file)), os.path.abspath(root)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def label_file(image: Path) -> Path | None:
    """Return the label file of an image, if it exists: below `labels` in place of the last `images`, else beside it."""
    folders = dict.fromkeys((_label_folder(image.parent), image.parent))
    return next((folder / f'{image.stem}.txt' for folder in folders
                 if os.path.isfile(folder / f'{image.stem}.txt')), None)


def _label_folder(folder: Path) -> Path:
    parts = folder.parts
    if 'images' not in parts:
        return folder
    last = len(parts) - 1 - parts[::-1].index('images')
    return Path(*parts[:last], 'labels', *parts[last + 1:])


def _keypoint_numbers(root: Path) -> int:
    """Return how many numbers follow a box: keypoints times numbers each; 0 if it is not a pose data set."""
    shape = _settings(root).get('kpt_shape')
    try:
        numbers = [int(number) for number in shape] if isinstance(shape, list) else [int(shape or 0)]
        if min(numbers, default=0) < 0:
            raise ValueError
        return math.prod(numbers) if numbers else 0
    except (TypeError, ValueError):
        raise DataError(f'{yaml_file(root)}: kpt_shape is not a list of two numbers.') from None


def _labels(file: Path | None, lines: list[str], size: tuple[int, int], names: dict[int, str],
            keypoints: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the COCO records of a label file, and the problems of the other lines."""
    records, wrong = [], []
    for number, line in enumerate(lines, 1):
        try:
            records += [_label(line, size, names, keypoints)] if line else []
        except ValueError as error:
            wrong.append(dict(where=f'{file}, line {number}', problem=str(error), record=line))
    return records, wrong


def _label(line: str, size: tuple[int, int], names: dict[int, str], keypoints: int) -> dict[str, Any]:
    """Return the COCO record of a line, without ids of its own.

    Raises:
        ValueError: the text is the problem.
    """
    tokens = line.split()
    many = len(tokens)
    if many == 6 and not keypoints:
        raise ValueError('has 6 numbers, as predictions with a confidence have: a label has 5. Remove the sixth of '
                         'each line if these are labels')
    is_box = many in (5, 5 + keypoints)
    if not is_box and (keypoints or many < 7 or many % 2 == 0):
        raise ValueError(f'has {many} numbers: expected '
                         f'{5 + keypoints if keypoints else "5 (a box), or 7, 9, ... (a polygon)"}')
    index = _index(tokens[0])
    if index not in names:
        raise ValueError(f'has the class {index}, but the classes are '
                         f'{shorten([str(known) for known in names]) or "not known"}')
    values = [_coordinate(token) for token in (tokens[1:5] if is_box else tokens[1:])]
    record = _box(values, size) if is_box else _polygon(values, size)
    if min(record['bbox'][2:]) <= 0:
        raise ValueError(f'has no area: {line[:MAX_TEXT]}')
    return dict(category_id=index + 1, iscrowd=0, **record)


def _box(values: list[float], size: tuple[int, int]) -> dict[str, Any]:
    x, y, w, h = values
    width, height = size
    return dict(bbox=[(x - w / 2) * width, (y - h / 2) * height, w * width, h * height], area=w * width * h * height)


def _polygon(values: list[float], size: tuple[int, int]) -> OutlineRecord:
    return polygon([x * size[0] for x in values[::2]], [y * size[1] for y in values[1::2]])


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float('nan')
    if not math.isfinite(value):
        raise ValueError(f'has {text[:MAX_TEXT]!r}, which is not a number')
    return value


def _index(text: str) -> int:
    """Return a class index. Some programs write it as 3.0."""
    value = _number(text)
    if not (value.is_integer() and 0 <= value < MAX_CLASSES):
        raise ValueError(f'has the class {text[:MAX_TEXT]!r}, which is not a class index')
    return int(value)


def _coordinate(text: str) -> float:
    value = _number(text)
    if not -TOLERANCE <= value <= 1 + TOLERANCE:
        raise ValueError(f'has the coordinate {text[:MAX_TEXT]}, which is not from 0 to 1: it must be relative to the '
                         'image')
    return value


def _without_image(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return a problem for each label folder with label files that belong to no image, of this split or another."""
    problems = []
    for images in sorted({file.parent for file in files}):
        labels = _label_folder(images)
        if labels == images or not labels.is_dir() or not images.is_dir():
            continue
        stems = {file.stem for file in images.iterdir() if is_image(file)} | {'classes'}
        alone = sorted(file.name for file in labels.glob('*.txt') if file.stem not in stems)
        if alone:
            problems.append(dict(where=str(labels), problem=f'{len(alone)} label files have no image in {images}: '
                                                            f'{shorten(alone)}', record=alone))
    return problems
