"""Read a data set in Pascal VOC's layout as COCO content: `Annotations/*.xml`, `JPEGImages/`, `ImageSets/Main/*.txt`."""
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ghostdet.errors import DataError, reason
from ghostdet.images.listing import IMAGE_SUFFIXES

# The name in VOC, then the name in many sets that follow it.
ANNOTATIONS = ('Annotations', 'annotations')
PICTURES = ('JPEGImages', 'images')
LISTS = 'ImageSets/Main'
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
MAX_TEXT = 40  # characters of a wrong value that a message shows


def is_voc(root: Path) -> bool:
    """Return whether `root` has XML files where Pascal VOC has them."""
    return any(_folder(root, ANNOTATIONS).glob('*.xml'))


def voc_splits(root: Path) -> dict[str, list[str]]:
    """Return split name -> names of its pictures without suffix, from the lists in `ImageSets/Main`.

    Lists of one class (`cat_train.txt`, with a second column of -1, 0 and 1) are not splits. Without lists, all XML
    files are the split 'train'.

    Raises:
        DataError: there are no XML files, or a list cannot be read.
    """
    known = {file.stem for file in _folder(root, ANNOTATIONS).glob('*.xml')}
    if not known:
        raise DataError(f'{root} is not in Pascal VOC\'s layout: expected XML files in {_folder(root, ANNOTATIONS)}')
    lists = {file.stem: _listed(file, known) for file in sorted((root / LISTS).glob('*.txt'))}
    return {split: names for split, names in lists.items() if names} or dict(train=sorted(known))


def _listed(file: Path, known: set[str]) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text('utf-8-sig').splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'the list of pictures {file} cannot be read ({reason(error)}). Save it as UTF-8 text.') from None
    columns = [line.rsplit(None, 1) for line in lines]
    if all(len(pair) == 2 and pair[1] in ('-1', '0', '1') for pair in columns) and not known.intersection(lines):
        return []  # a list of one class
    return list(dict.fromkeys(line if line in known else _without_suffix(line) for line in lines))


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)  # a name may contain dots, so only known suffixes go
    return stem if suffix.lower() in (*IMAGE_SUFFIXES, '.xml') else name


def voc_classes(root: Path) -> tuple[str, ...]:
    """Return the class names in all XML files, sorted, so that all splits number them alike. Damaged files are skipped."""
    names = set()
    for file in _folder(root, ANNOTATIONS).glob('*.xml'):
        try:
            names |= {_text(thing, 'name') for thing in parse_xml(file).findall('object')}
        except ValueError:
            continue
    return tuple(sorted(names - {''}))


def is_labelled(root: Path, names: Sequence[str]) -> bool:
    """Return whether a split has at least one XML file. VOC publishes test pictures without any."""
    folder = _folder(root, ANNOTATIONS)
    return any(os.path.isfile(folder / f'{name}.xml') for name in names)


def read_voc(root: Path, names: Sequence[str],
             classes: Sequence[str] | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a split as COCO content, with file names relative to `root`, and a list of problems.

    - Corners count from 1 and belong to the box: x = xmin - 1, and the right edge is xmax, so that a box from 1 to the
      picture's width covers it. A left or top corner from 0 to 1, as programs write that count from 0, counts as 1.
    - A box whose xmax is not above its xmin, or whose ymax is not above its ymin, is a problem and left out. By the
      rule above it could be one pixel wide, but nobody draws such a box: it is a click without a drag.
    - A difficult object is a crowd (`iscrowd` 1) and keeps `difficult` 1. Pascal VOC counts it neither as hit nor as
      miss. COCO's evaluation does so for crowds alone: it overwrites `ignore`. Training then treats it as mmdet's
      VOCDataset does.
    - The picture is the file with the XML file's name, else the one that `<filename>` names. If neither exists, the
      record keeps that name. A size that the XML file does not have is 0.
    - If no picture of the split has an XML file, the split has pictures and no boxes.

    Args:
        names: picture names without suffix.
        classes: class names in the order of the category ids, which start at 1. Default: the split's own, sorted.

    Returns:
        the content, and a problem (`where`, `problem`, `record`) for each file or object that was left out.
    """
    folder, pictures, labelled = _folder(root, ANNOTATIONS), _Pictures(root), is_labelled(root, names)
    images: dict[str, dict] = {}  # by file name
    objects: list[dict] = []
    problems = []
    for name in names:
        file = folder / f'{name}.xml'
        try:
            tree = _parse_annotation(file) if labelled else Element('annotation')
            picture = pictures.find(name, _text(tree, 'filename'))
            if picture in images:
                raise ValueError(f'belongs to the picture {picture}, as another XML file does: correct its <filename>')
        except ValueError as error:
            problems.append(dict(where=str(file), problem=str(error), record=name))
            continue
        images[picture] = dict(id=len(images) + 1, file_name=picture, width=_side(tree, 'width'),
                               height=_side(tree, 'height'))
        found, wrong = _objects(file, tree, classes)
        objects += [dict(entry, image_id=images[picture]['id']) for entry in found]
        problems += wrong
    return _content(list(images.values()), objects, classes), problems


def _content(images: list[dict], objects: list[dict], classes: Sequence[str] | None) -> dict[str, Any]:
    """Return COCO content: numbers the objects, and turns their `name` into a category id."""
    names = sorted({entry['name'] for entry in objects}) if classes is None else list(classes)
    ids = {name: index for index, name in enumerate(names, 1)}
    boxes = []
    for index, entry in enumerate(objects, 1):
        rest = {key: value for key, value in entry.items() if key != 'name'}
        boxes.append(dict(id=index, category_id=ids[entry['name']], **rest))
    return dict(images=images, annotations=boxes, categories=[dict(id=index, name=name) for name, index in ids.items()])


# ------------------------------------------------------------------------------------------------------------------ XML

def parse_xml(file: Path) -> Element:
    """Return the root element of an XML file. Refuses a document type, whose entities can grow to any size.

    Raises:
        ValueError: the text is the problem: the file is missing, cannot be read, is not XML, or declares a document
        type.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, _refuse_doctype
    try:
        parser.Parse(file.read_bytes(), True)
        return builder.close()
    except FileNotFoundError:
        raise ValueError('the XML file is missing') from None
    except OSError as error:
        raise ValueError(f'the XML file cannot be read ({reason(error)})') from None
    # the last two: an encoding that is unknown or not supported
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise ValueError(f'is not valid XML ({reason(error)})') from None


def _refuse_doctype(*_: Any) -> None:
    raise ValueError('it declares a DOCTYPE, which Pascal VOC does not use: remove it')


def _objects(file: Path, tree: Element, classes: Sequence[str] | None) -> tuple[list[dict], list[dict]]:
    """Return the objects of an XML file as COCO records with a `name`, and the problems of the others."""
    found, wrong = [], []
    for number, thing in enumerate(tree.findall('object'), 1):
        try:
            found.append(_object(thing, classes))
        except ValueError as error:
            record = dict(name=_text(thing, 'name'), **{key: _text(thing, f'bndbox/{key}') for key in CORNERS})
            wrong.append(dict(where=f'{file}, object {number}', problem=str(error), record=record))
    return found, wrong


def _parse_annotation(file: Path) -> Element:
    """Return the root element. Refuses objects or boxes elsewhere than in `annotation/object`: they would be lost
    silently.

    Raises:
        ValueError: the text is the problem.
    """
    tree = parse_xml(file)
    objects = tree.findall('object')
    inside = sum(1 for thing in objects for _ in thing.iter('bndbox'))
    if sum(1 for _ in tree.iter('object')) > len(objects) or sum(1 for _ in tree.iter('bndbox')) > inside:
        raise ValueError('has an <object> or <bndbox> at another place than Pascal VOC, which has <object> only '
                         'directly in <annotation>, and <bndbox> in it')
    return tree


def _object(thing: Element, classes: Sequence[str] | None) -> dict[str, Any]:
    name = _text(thing, 'name')
    if not name:
        raise ValueError('has no name')
    if classes is not None and name not in classes:
        raise ValueError(f'has the class {name[:MAX_TEXT]!r}, which is not one of the classes')
    number = len(thing.findall('bndbox'))  # a part of the object has its own, deeper down
    if number != 1:
        raise ValueError(f'has {number or "no"} bndbox' + ': expected one' * (number > 1))
    left, top, right, bottom = (_corner(thing, key) for key in CORNERS)
    if right <= left or bottom <= top:
        raise ValueError(f'has no area: xmin {left}, ymin {top}, xmax {right}, ymax {bottom}')
    x, y = _from_zero(left), _from_zero(top)
    width, height = right - x, bottom - y
    difficult = _text(thing, 'difficult').lower() in ('1', 'true', 'yes')
    record = dict(name=name, bbox=[x, y, width, height], area=width * height, iscrowd=int(difficult))
    return record | (dict(difficult=1) if difficult else {})


def _corner(thing: Element, key: str) -> float:
    text = _text(thing, f'bndbox/{key}')
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

class _Pictures:
    """The picture files of a set, listed once."""

    def __init__(self, root: Path) -> None:
        self.folder = _folder(root, PICTURES)
        files = sorted(os.listdir(self.folder)) if self.folder.is_dir() else []
        self.names = {name for name in files if name.lower().endswith(IMAGE_SUFFIXES)}
        # of two, the first counts
        self.stems = {os.path.splitext(name)[0]: name for name in sorted(self.names, reverse=True)}

    def find(self, stem: str, named: str) -> str:
        """Return the file name of a picture, relative to the root.

        `named` may be left over from a file that was copied or renamed, so a picture with the XML file's name comes
        first.
        """
        named = PurePosixPath(named.replace('\\', '/')).name  # some programs write a path
        name = self.stems.get(stem) or (named if named in self.names else self.stems.get(_without_suffix(named)))
        return f'{self.folder.name}/{name or named or stem + ".jpg"}'


def _folder(root: Path, names: Sequence[str]) -> Path:
    return next((root / name for name in names if (root / name).is_dir()), root / names[0])
