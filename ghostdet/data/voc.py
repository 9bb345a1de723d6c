"""Read a data set in Pascal VOC's layout as COCO content: `Annotations/*.xml`, `JPEGImages/`, `ImageSets/Main/`.

Sets that follow it have the XML files in other folders, or beside the images.
"""
import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser, fromstring

from ghostdet.errors import DataError, reason
from ghostdet.files import read_lines
from ghostdet.images.listing import is_image

# The name in VOC, then the names in sets that follow it; '' is the folder of the set itself.
ANNOTATIONS = ('Annotations', 'annotations', 'annots', 'xml', 'xmls', 'labels', 'JPEGImages', 'images', '')
IMAGES = ('JPEGImages', 'images')
LISTS = 'ImageSets/Main'
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
PROBED = 20  # XML files by which a folder is recognised
MAX_TEXT = 40  # characters of a wrong value that a message shows


def is_voc(root: Path) -> bool:
    """Return whether `root` has XML files of Pascal VOC where it has them."""
    return any(_has_voc(root / name) for name in ANNOTATIONS[:2])


def is_like_voc(root: Path) -> bool:
    """Return whether `root` has XML files of Pascal VOC where it or sets that follow it have them."""
    return any(_has_voc(root / name) for name in ANNOTATIONS)


def voc_splits(root: Path) -> dict[str, list[str]]:
    """Return split name -> names of its images without suffix, from the lists in `ImageSets/Main`.

    Lists of one class (`cat_train.txt`, with a second column of -1, 0 and 1) are not splits. Without lists, all XML
    files are the split 'train'.

    Raises:
        DataError: there are no XML files, or a list cannot be read.
    """
    known = {file.stem for file in _xml_folder(root).glob('*.xml')}
    if not known:
        raise DataError(f'{root} is not in Pascal VOC\'s layout: expected XML files in {_xml_folder(root)}')
    lists = {file.stem: _listed(file, known) for file in sorted((root / LISTS).glob('*.txt'))}
    return {split: names for split, names in lists.items() if names} or dict(train=sorted(known))


def _listed(file: Path, known: set[str]) -> list[str]:
    lines = list(filter(None, read_lines(file, 'the list of images')))
    columns = [line.rsplit(None, 1) for line in lines]
    if all(len(pair) == 2 and pair[1] in ('-1', '0', '1') for pair in columns) and not known.intersection(lines):
        return []  # a list of one class
    return list(dict.fromkeys(line if line in known else _without_suffix(line) for line in lines))


def _without_suffix(name: str) -> str:
    # a name may contain dots, so only known suffixes go
    return os.path.splitext(name)[0] if is_image(name) or name.lower().endswith('.xml') else name


def voc_classes(root: Path) -> tuple[str, ...]:
    """Return the class names in all XML files, sorted, so that splits number them alike. Damaged files are skipped."""
    names = set()
    for file in _xml_folder(root).glob('*.xml'):
        try:
            names |= {_text(element, 'name') for element in parse_xml(file).findall('object')}
        except ValueError:
            continue
    return tuple(sorted(names - {''}))


def is_labelled(root: Path, names: Sequence[str]) -> bool:
    """Return whether a split has at least one XML file. VOC publishes test images without any."""
    folder = _xml_folder(root)
    return any(os.path.isfile(folder / f'{name}.xml') for name in names)


def _record(tree: Element, image: str, number: int) -> dict[str, Any]:
    return dict(id=number, file_name=image, width=_side(tree, 'width'), height=_side(tree, 'height'))


def read_voc(root: Path, names: Sequence[str], classes: Sequence[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a split as COCO content, with file names relative to `root`, and a list of problems.

    - Corners count from 1 and belong to the box: x = xmin - 1, and the right edge is xmax, so that a box from 1 to the
      image's width covers it. A left or top corner from 0 to 1, as programs write that count from 0, counts as 1.
    - A box whose xmax is not above its xmin, or whose ymax is not above its ymin, is a problem and left out: it is a
      click without a drag.
    - A difficult object is a crowd (`iscrowd` 1) and keeps `difficult` 1. Pascal VOC counts it neither as hit nor as
      miss. COCO's evaluation does so for crowds alone: it overwrites `ignore`. Training then treats it as mmdet's
      VOCDataset does.
    - The image is the file with the XML file's name, else the one that `<filename>` names, even if it does not exist.
      A size that the XML file does not have is 0.
    - If no image of the split has an XML file, the split has images and no boxes.

    Args:
        names, classes: image names without suffix; class names in the order of the category ids, which start at 1.

    Returns:
        the content, and a problem (`where`, `problem`, `record`) for each file or object that was left out.
    """
    folder, find, labelled = _xml_folder(root), _image_finder(root), is_labelled(root, names)
    ids = {name: index for index, name in enumerate(classes, 1)}
    images: dict[str, dict] = {}  # by file name
    boxes, problems = list[dict](), list[dict]()
    for name in names:
        file = folder / f'{name}.xml'
        try:
            tree = _parse_annotation(file) if labelled else Element('annotation')
            image = find(name, _text(tree, 'filename'))
            if image in images:
                raise ValueError(f'belongs to the image {image}, as another XML file does: correct its <filename>')
        except ValueError as error:
            problems.append(dict(where=str(file), problem=str(error), record=name))
            continue
        images[image] = _record(tree, image, len(images) + 1)
        records, wrong = _objects(file, tree, ids)
        boxes += [dict(record, id=index, image_id=len(images)) for index, record in enumerate(records, len(boxes) + 1)]
        problems += wrong
    return dict(images=list(images.values()), annotations=boxes,
                categories=[dict(id=index, name=name) for name, index in ids.items()]), problems


# ------------------------------------------------------------------------------------------------------------------ XML

def parse_xml(file: Path) -> Element:
    """Return the root element of an XML file. Refuses a document type, whose entities can grow to any size.

    Raises:
        ValueError: the text is the problem: the file is missing, cannot be read, is not XML, or declares a document
        type.
    """
    try:
        return fromstring(file.read_bytes(), XMLParser(target=_Builder()))
    except FileNotFoundError:
        raise ValueError('the XML file is missing') from None
    except OSError as error:
        raise ValueError(f'the XML file cannot be read ({reason(error)})') from None
    # the last two: an encoding that is unknown or not supported
    except (ParseError, LookupError, ValueError) as error:
        raise ValueError(f'is not valid XML ({reason(error)})') from None


class _Builder(TreeBuilder):
    def doctype(self, *_: Any) -> None:
        raise ValueError('it declares a DOCTYPE, which Pascal VOC does not use: remove it')


def _objects(file: Path, tree: Element, ids: dict[str, int]) -> tuple[list[dict], list[dict]]:
    """Return the objects of an XML file as COCO records, and the problems of the others."""
    records, wrong = [], []
    for number, element in enumerate(tree.findall('object'), 1):
        try:
            records.append(_object(element, ids))
        except ValueError as error:
            record = dict(name=_text(element, 'name'), **{key: _text(element, f'bndbox/{key}') for key in CORNERS})
            wrong.append(dict(where=f'{file}, object {number}', problem=str(error), record=record))
    return records, wrong


def _parse_annotation(file: Path) -> Element:
    """Return the root element. Refuses objects or boxes elsewhere than in `annotation/object`: they would be lost
    silently.

    Raises:
        ValueError: the text is the problem.
    """
    tree = parse_xml(file)
    objects = tree.findall('object')
    inside = sum(1 for element in objects for _ in element.iter('bndbox'))
    if sum(1 for _ in tree.iter('object')) > len(objects) or sum(1 for _ in tree.iter('bndbox')) > inside:
        raise ValueError('has an <object> or <bndbox> elsewhere than in Pascal VOC, which has <object> only '
                         'directly in <annotation>, and <bndbox> in it')
    return tree


def _object(element: Element, ids: dict[str, int]) -> dict[str, Any]:
    name = _text(element, 'name')
    if not name:
        raise ValueError('has no name')
    if name not in ids:
        raise ValueError(f'has the class {name[:MAX_TEXT]!r}, which is not one of the classes')
    number = len(element.findall('bndbox'))  # a part of the object has its own, deeper down
    if number != 1:
        raise ValueError(f'has {number or "no"} bndbox' + ': expected one' * (number > 1))
    left, top, right, bottom = (_corner(element, key) for key in CORNERS)
    if right <= left or bottom <= top:
        raise ValueError(f'has no area: xmin {left}, ymin {top}, xmax {right}, ymax {bottom}')
    x, y = _from_zero(left), _from_zero(top)
    width, height = right - x, bottom - y
    difficult = _text(element, 'difficult').lower() in ('1', 'true', 'yes')
    record = dict(category_id=ids[name], bbox=[x, y, width, height], area=width * height, iscrowd=int(difficult))
    return record | (dict(difficult=1) if difficult else {})


def _corner(element: Element, key: str) -> float:
    text = _text(element, f'bndbox/{key}')
    try:
        value = float(text)
    except ValueError:
        value = float('nan')
    if not -1e9 < value < 1e9:  # excludes NaN and infinity
        raise ValueError(f'has {key} {text[:MAX_TEXT]!r}, which is not a number' if text else f'has no {key}')
    return int(value) if value.is_integer() else value


def _from_zero(corner: float) -> float:
    return 0 if 0 <= corner < 1 else corner - 1


def _side(tree: Element, key: str) -> int:
    """Return the width or height in `<size>`; 0 if it is missing or not a positive whole number."""
    try:
        value = float(_text(tree, f'size/{key}'))
    except ValueError:
        return 0
    return int(value) if 0 < value < 1e9 and value.is_integer() else 0


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or '').strip()


# ---------------------------------------------------------------------------------------------------------------- files

def _image_finder(root: Path) -> Callable[[str, str], str]:
    """Return a function (name of an XML file without suffix, its `<filename>`) -> file name of its image, relative to
    the root.

    `<filename>` may be left over from a file that was copied or renamed, so an image with the XML file's name comes
    first.
    """
    places = [*(root / name for name in IMAGES), _xml_folder(root), root]
    found = {place: set(filter(is_image, os.listdir(place))) for place in places if place.is_dir()}
    usual = next((place for place in places[:-2] if place in found), places[0])
    folder = next((place for place, names in found.items() if names), usual)
    names = found.get(folder, set())
    stems = {os.path.splitext(name)[0]: name for name in sorted(names, reverse=True)}  # of two, the first counts

    def find(stem: str, named: str) -> str:
        named = PurePosixPath(named.replace('\\', '/')).name  # some programs write a path
        name = stems.get(stem) or (named if named in names else stems.get(_without_suffix(named)))
        return (folder / (name or named or f'{stem}.jpg')).relative_to(root).as_posix()

    return find


def _xml_folder(root: Path) -> Path:
    return next((root / name for name in ANNOTATIONS if _has_voc(root / name)), root / ANNOTATIONS[0])


def _has_voc(folder: Path) -> bool:
    """Return whether a folder has XML files of Pascal VOC; only the first few are read.

    A damaged one counts in VOC's own folder: reading it then says what is wrong.
    """
    named = (file for file in sorted(folder.glob('*.xml')) if not file.name.endswith('.aux.xml'))  # GDAL's
    for file in islice(named, PROBED):
        try:
            if parse_xml(file).tag == 'annotation':
                return True
        except ValueError:
            if folder.name in ANNOTATIONS[:2]:
                return True
    return False
