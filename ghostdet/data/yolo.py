"""Read a data set in YOLO's layout as COCO content: a text file of boxes or polygons for each picture, and `data.yaml`."""
import contextlib
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from ghostdet.errors import DataError, UserError, reason
from ghostdet.images.listing import IMAGE_SUFFIXES, image_files
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
    if (root / 'classes.txt').is_file() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in root.iterdir()):
        return True  # all in one folder
    return any((folder / 'images').is_dir() and (folder / 'labels').is_dir()
               for folder in [root, *_split_folders(root)])


# --------------------------------------------------------------------------------------------------------------- splits

def yolo_splits(root: Path) -> dict[str, list[Path]]:
    """Return split name ('valid' is called 'val') -> its pictures, sorted. Only a split with pictures is listed.

    `train`, `val` and `test` in the YAML file are folders, text files that list pictures, or lists of these. They are
    relative to
    `path`, else to the YAML file. If there is nothing, leading `../` are left out: Roboflow writes them. Without a YAML
    file, or if it names no pictures, the folders `images/train` or `train/images` are the splits.

    Raises:
        DataError: a split is named and its pictures are not found (a missing test split is left out), or there are no
        pictures.
    """
    content = _settings(root)
    splits = {}
    for key in ('train', 'val', 'valid', 'test'):
        entries = _entries(root, content, key)
        files = _pictures_of(root, content, key, entries) if entries else []
        if files:
            splits[OTHER_NAMES.get(key, key)] = files
    splits = splits or _splits_by_folder(root)
    if not splits:
        raise DataError(f'{root} has no pictures where YOLO has them. Looked for train: and val: in '
                        f'{" or ".join(YAMLS)}, and for pictures in images/train, train/images and images.')
    return splits


def yaml_file(root: Path) -> Path | None:
    """Return the file that names splits and classes, if there is one."""
    return next((root / name for name in YAMLS if (root / name).is_file()), None)


class _Loader(yaml.BaseLoader):
    """Reads every value as text, and refuses a mapping with a key twice: only the last value would be read."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """Return a mapping."""
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise ValueError('a key is there twice')
        return found


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


def _pictures_of(root: Path, content: dict[str, Any], key: str, entries: list[str]) -> list[Path]:
    """Return the pictures of a split as the YAML file names them."""
    paths = _entries(root, content, 'path')
    bases = [*(root / path for path in paths[:1] if os.path.isdir(root / path)), root]
    files: set[str] = set()
    for entry in entries:
        place = next((path for path in _candidates(entry, bases) if os.path.exists(path)), None)
        if place is None and key == 'test':  # Roboflow names a test split also if there is none
            continue
        if place is None:
            looked = dict.fromkeys(os.path.abspath(path) for path in _candidates(entry, bases))
            raise DataError(f'{yaml_file(root)}: {key}: {entry[:MAX_TEXT]} does not exist. Looked for '
                            f'{", ".join(looked)}. Correct {key}: or path: in this file.')
        if place not in [base / entry for base in bases]:
            LOGGER.info(f'{yaml_file(root)}: {key}: {entry[:MAX_TEXT]} is not there; {place} is taken')
        found = image_files(place, unread=True) if place.is_dir() else _listed(place, bases)
        files |= {os.path.abspath(file) for file in found}
    if not files and key != 'test':
        raise DataError(f'{yaml_file(root)}: {key}: {shorten(entries)} has no pictures. Correct {key}: in this file.')
    return sorted(map(Path, files))


def _candidates(entry: str, bases: Sequence[Path]) -> Iterator[Path]:
    """Yield where a path may be: as written first, then without leading `../`, then without the folders of another
    machine.

    The folder `images` alone is no place to look for: all splits may be below it.
    """
    entry = entry.replace('\\', '/')
    inside = re.sub(r'^(\.\.?/)+', '', entry)
    parts = [part for part in inside.split('/') if part]
    shorter = ['/'.join(parts[start:]) for start in range(1, len(parts))]
    for name in dict.fromkeys((entry, inside, *(name for name in shorter if name != 'images'))):
        yield from dict.fromkeys(base / name for base in bases)


def _listed(file: Path, bases: Sequence[Path]) -> list[Path]:
    """Return the pictures that a text file lists. A picture that does not exist is returned too; reading it is the problem."""
    try:
        lines = [line.strip() for line in file.read_text('utf-8-sig').splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'the list of pictures {file} cannot be read ({reason(error)}). Save it as UTF-8 text.') from None
    places = [list(_candidates(line, [file.parent, *bases])) for line in lines]
    return [next((path for path in paths if os.path.isfile(path)), paths[0]) for paths in places]


def _splits_by_folder(root: Path) -> dict[str, list[Path]]:
    inner = {folder.name: folder for folder in _split_folders(root / 'images')}
    outer = {folder.name: folder / 'images' for folder in _split_folders(root) if (folder / 'images').is_dir()}
    one = root if (root / 'classes.txt').is_file() and not (root / 'images').is_dir() else root / 'images'
    folders = inner | outer or {'train': one}
    splits = {name: image_files(Path(os.path.abspath(folder)), unread=True) for name, folder in folders.items()}
    return {OTHER_NAMES.get(name, name): files for name, files in splits.items() if files}


def _split_folders(folder: Path) -> list[Path]:
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
        pairs = list(enumerate(names)) if isinstance(names, list) else [(int(key), name) for key,
                                                                        name in (names or {}).items()]
    except (AttributeError, ValueError):
        raise DataError(f'{file}: names is neither a list nor a mapping of class numbers to names.') from None
    wrong = [index for index,
             name in pairs if not isinstance(name, str) or not name.strip() or not 0 <= index < MAX_CLASSES]
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
    try:
        lines = file.read_text('utf-8-sig').rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'the list of classes {file} cannot be read ({reason(error)}). Save it as UTF-8 text.') from None
    return {index: line.strip() or f'class {index}' for index, line in enumerate(lines)}


def _used(root: Path) -> list[int]:
    """Return the class indexes in the label files of all splits. Wrong lines are skipped; `read_yolo` reports them."""
    used = set()
    for file in {file for files in yolo_splits(root).values() for file in files}:
        lines: list[tuple[int, str]] = []
        with contextlib.suppress(ValueError):
            lines = _lines(label_file(file))
        for _, line in lines:
            with contextlib.suppress(ValueError):
                used.add(_index(line.split()[0]))
    return sorted(used)


# --------------------------------------------------------------------------------------------------------------- labels

def read_yolo(root: Path, files: Sequence[Path], size_of: Callable[[Path], tuple[int, int]],
              names: dict[int, str] | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return pictures and their labels as COCO content, and a list of problems.

    - A line of 5 numbers is a class and a box (centre, width, height), relative to the upright picture. Keypoints that
      follow in a pose data set (`kpt_shape` in the YAML file) are left out.
    - A line of 7, 9, ... numbers is a class and a polygon: it becomes a segmentation, with its bounds as box.
    - A line of 6 numbers is a problem. The sixth is a confidence or a track: the file holds predictions, not labels.
    - A picture without a label file has no boxes. `info` counts them: `pictures_without_label_file`.
    - Category ids are class indexes + 1.

    Args:
        root: folder that file names are relative to. The name of a picture elsewhere is absolute.
        files: the pictures.
        size_of: returns width and height of an upright picture, or raises a UserError.
        names: class index -> name. Default: `yolo_names(root)`.

    Returns:
        the content, and a problem (`where`, `problem`, `record`) for each picture or line left out, and each folder of
        label files that have no picture.
    """
    names, keypoints = yolo_names(root) if names is None else names, _keypoint_numbers(root)
    images, boxes, problems, owners, without = list[dict](), list[dict](), list[dict](), dict[Path, Path](), 0
    for file in files:
        label = label_file(file)
        try:
            _refuse_second(label, file, owners)
            (width, height), lines = size_of(file), _lines(label)
        except (UserError, ValueError) as error:
            where = file if isinstance(error, UserError) else label
            problems.append(dict(where=str(where), problem=str(error), record=str(file)))
            continue
        without += label is None
        images.append(dict(id=len(images) + 1, file_name=file_name(root, file), width=width, height=height))
        found, wrong = _labels(label, lines, (width, height), names, keypoints)
        boxes += [dict(id=index, image_id=len(images), **box) for index, box in enumerate(found, len(boxes) + 1)]
        problems += wrong
    categories = [dict(id=index + 1, name=name) for index, name in names.items()]
    info = dict(description='read from YOLO labels', pictures_without_label_file=without)
    return dict(info=info, images=images, annotations=boxes, categories=categories), problems + _without_picture(files)


def _refuse_second(label: Path | None, picture: Path, owners: dict[Path, Path]) -> None:
    """Refuse a label file that belongs to an earlier picture, too, by `owners`, in which it is noted.

    Raises:
        ValueError: it does.
    """
    if label is not None and owners.setdefault(label, picture) != picture:
        raise ValueError(f'is the label file of {owners[label].name} and of {picture.name}: rename one picture')


def file_name(root: Path, file: Path) -> str:
    """Return the `file_name` of a picture: relative to `root` if it is below it, else absolute."""
    path, folder = Path(os.path.abspath(file)), os.path.abspath(root)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def label_file(picture: Path) -> Path | None:
    """Return the label file of a picture if it exists: below `labels` in place of the last `images`, else beside the picture."""
    folders = dict.fromkeys((_label_folder(picture.parent), picture.parent))
    return next((folder / f'{picture.stem}.txt' for folder in folders
                 if os.path.isfile(folder / f'{picture.stem}.txt')), None)


def _label_folder(folder: Path) -> Path:
    parts = folder.parts
    if 'images' not in parts:
        return folder
    last = len(parts) - 1 - parts[::-1].index('images')
    return Path(*parts[:last], 'labels', *parts[last + 1:])


def _lines(label: Path | None) -> list[tuple[int, str]]:
    """Return line number and text of each line that is not empty.

    Raises:
        ValueError: the text is the problem: the file cannot be read.
    """
    if label is None:
        return []
    try:
        lines = label.read_text('utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f'the label file cannot be read ({reason(error)})') from None
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


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


def _labels(file: Path | None, lines: list[tuple[int, str]], size: tuple[int, int], names: dict[int, str],
            keypoints: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the COCO records of a label file, and the problems of the other lines."""
    found, wrong = [], []
    for number, line in lines:
        try:
            found.append(_label(line, size, names, keypoints))
        except ValueError as error:
            wrong.append(dict(where=f'{file}, line {number}', problem=str(error), record=line))
    return found, wrong


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


def _polygon(values: list[float], size: tuple[int, int]) -> dict[str, Any]:
    """Return the record of a polygon; its area is that of the polygon (shoelace formula)."""
    xs, ys = [x * size[0] for x in values[::2]], [y * size[1] for y in values[1::2]]
    twice = sum(xs[k - 1] * ys[k] - xs[k] * ys[k - 1] for k in range(len(xs)))
    x, y = min(xs), min(ys)
    bbox = [x, y, max(xs) - x, max(ys) - y]
    return dict(bbox=bbox, area=abs(twice) / 2 or bbox[2] * bbox[3],
                segmentation=[[v for point in zip(xs, ys) for v in point]])


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
                         'picture')
    return value


def _without_picture(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return a problem for each label folder with label files that belong to no picture, of this split or another."""
    problems = []
    for pictures in sorted({file.parent for file in files}):
        labels = _label_folder(pictures)
        if labels == pictures or not labels.is_dir() or not pictures.is_dir():
            continue
        stems = {file.stem for file in pictures.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES} | {'classes'}
        alone = sorted(file.name for file in labels.glob('*.txt') if file.stem not in stems)
        if alone:
            problems.append(dict(where=str(labels), problem=f'{len(alone)} label files have no picture in {pictures}: '
                                                            f'{shorten(alone)}', record=alone))
    return problems
