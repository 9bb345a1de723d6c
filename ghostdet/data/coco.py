"""Find the files of a COCO-format data set, and read its annotation files."""
import codecs
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostdet.errors import DataError, reason
from ghostdet.messages import brief

LEVELS = 100  # passes that find a file nested too deeply: each takes one or two levels away. COCO's has five
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}'))
GET_COCO = ('Put a data set in COCO\'s layout there (annotations/instances_train2017.json, '
            'annotations/instances_val2017.json, train2017/, val2017/), choose another folder with --data-root DIR, or '
            'name the files with --train-ann, --train-img, --val-ann and --val-img. To download COCO: ghostdet '
            'prepare-coco data/coco')


@dataclass(frozen=True)
class Split:
    """One split: its annotation file and its image folder. File names of images are relative to this folder."""

    name: str  # 'train' or 'val'
    annotations: Path
    images: Path


def find_splits(root: Path | None, **named: str | None) -> dict[str, Split]:
    """Return the train split and, if there is one, the val split below `root`. Does not check that the files exist.

    Args:
        root: folder in COCO's own layout.
        named: `train_ann`, `train_img`, `val_ann`, `val_img`: other paths. If a path does not exist, it is relative to
            `root`.

    Raises:
        DataError: `root` is not a folder.
    """
    if root is not None and not root.is_dir():
        raise DataError(f'the data folder {root.absolute()} does not exist. {GET_COCO}')
    splits = {}
    for name in ('train', 'val'):
        annotations = _locate(root, named.get(f'{name}_ann'), f'annotations/instances_{name}2017.json')
        images = _locate(root, named.get(f'{name}_img'), f'{name}2017')
        if name == 'val' and not annotations.exists() and not (named.get('val_ann') or named.get('val_img')):
            continue
        splits[name] = Split(name, annotations, images)
    return splits


def _locate(root: Path | None, named: str | None, usual: str) -> Path:
    if named is None:
        return (root or Path()) / usual
    return Path(named) if Path(named).exists() or root is None else root / named


def read_annotations(split: Split, unlabelled: bool = False) -> dict[str, Any]:
    """Read a split's annotation file.

    Args:
        unlabelled: accept a file without the list of annotations, like COCO's test-dev.

    Raises:
        DataError: the file is missing, cannot be read, is not JSON or not in COCO's format, or the image folder is
        missing.
    """
    file = split.annotations
    if not file.is_file():
        raise DataError(f'{file.name} is missing: expected the {split.name} split\'s annotations at {file.absolute()}. '
                        f'{GET_COCO}')
    content = read_json(file)
    parts = ('images', 'annotations', 'categories')
    missing = [part for part in parts if not isinstance(content, dict) or not isinstance(content.get(part), list)]
    if unlabelled and missing == ['annotations'] and 'annotations' not in content:
        missing = []
    if missing:
        raise DataError(f'{file} is not a COCO annotation file: it has no list '
                        f'{" and no list ".join(map(repr, missing))}.')
    if not split.images.is_dir():
        raise DataError(f'the image folder of the {split.name} split is missing: expected {split.images.absolute()}. '
                        f'{GET_COCO}')
    return content


def read_json(file: Path) -> Any:
    """Read JSON as pycocotools does, which takes only UTF-8.

    Raises:
        DataError: it cannot be read, is not JSON in UTF-8, or an object has a key twice: only the last value would be
        read.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(f'{file} cannot be read ({reason(error)}).') from None
    if raw.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # UTF-32 begins like UTF-16
        raise DataError(f'{file} starts with a byte-order mark (BOM), which pycocotools cannot read. Save it as UTF-8 '
                        'without BOM.')
    try:
        # the second, which is slow, if there are brackets in texts
        if _is_deep(raw) and _is_deep(STRING.sub(b'', raw)):
            raise RecursionError  # reading it may work, and copying it fail later
        return json.loads(raw.decode(), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise DataError(f'{file} is not UTF-8 text ({error}). Save it as UTF-8.') from None
    except ValueError as error:
        raise DataError(f'{file} is not valid JSON ({error}). It may be cut short: copy or download it '
                        'again.') from None
    except RecursionError:
        raise DataError(f'{file} is nested too deeply to be a COCO annotation file.') from None


def _is_deep(raw: bytes) -> bool:
    """Return whether many brackets are left after the innermost pairs are taken away many times, as no cut file has."""
    brackets = raw.translate(None, NO_BRACKETS)
    for _ in range(LEVELS):
        brackets = brackets.replace(b'[]', b'').replace(b'{}', b'')
    return len(brackets) > LEVELS


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    twice = [key for key, value in pairs if record[key] != value] if len(record) < len(pairs) else []
    if twice:
        raise ValueError(f'an object has the key {brief(twice[0])} twice, with two values')
    return record


def class_names(content: dict[str, Any], file: Path) -> tuple[str, ...]:
    """Return the category names in the file's order, which is the order of the labels.

    Raises:
        DataError: there are no categories, one has no id or name, two share one, or ids mix numbers and text.
    """
    categories = content['categories']
    for index, category in enumerate(categories):
        fields = category if isinstance(category, dict) else {}
        if not (_is_text(fields.get('name')) and isinstance(fields.get('id'), (int, str))):
            raise DataError(f'{file}: categories[{index}] = {brief(category)} has no valid name or no valid id.')
    if len({type(category['id']) for category in categories}) > 1:
        raise DataError(f'{file}: some category ids are numbers and some are text. Make them all numbers.')
    for key in ('id', 'name'):
        times = Counter(category.get('original_id', category['id']) if key == 'id' else category[key]
                        for category in categories)
        twice = sorted(str(value) for value, number in times.items() if number > 1)
        if twice:
            raise DataError(f'{file}: two categories have the same {key}: {", ".join(twice)}. Give each category its '
                            f'own {key}.')
    if not categories:
        raise DataError(f'{file} has no categories, so there is nothing to learn.')
    return tuple(category['name'] for category in categories)


def _is_text(value: Any) -> bool:
    """Return whether a value is text that can be printed: JSON allows half a surrogate pair."""
    return isinstance(value, str) and not any('\ud800' <= letter <= '\udfff' for letter in value)
