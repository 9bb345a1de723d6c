"""Recognise the layout of a data set on disk, and read its splits as COCO content."""
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from ghostdet.data.checked import Source
from ghostdet.data.coco import Split, read_annotations
from ghostdet.data.json_kinds import COCO, LABELME, VIA, of_kind
from ghostdet.data.labelme import labelme_classes, labelme_splits, parse_labelme, read_labelme
from ghostdet.data.other_exports import export_hint
from ghostdet.data.via import read_via, via_classes, via_records
from ghostdet.data.voc import LISTS, is_labelled, is_like_voc, is_voc, read_voc, voc_classes, voc_splits
from ghostdet.data.yolo import is_yolo, label_file, read_yolo, split_folders, yaml_file, yolo_names, yolo_splits
from ghostdet.errors import DataError, reason
from ghostdet.messages import shorten

TRAIN = ('train', 'train2017', 'trainval')  # the first of these is the default; case does not matter
VAL = ('val', 'valid', 'val2017', 'validation', 'test')
ROBOFLOW = '_annotations.coco.json'
PREFIXES = ('image_info_', 'instances_')  # what COCO puts before the name of a split; the last has the boxes
OTHER_TASKS = ('captions_', 'person_keypoints_', 'stuff_', 'panoptic_')
MAX_TEXT = 100  # characters of a file name that a message shows
PROBED = 100  # images by which an image folder is chosen
NAME_IMAGES = 'Name their folder with --train-img or --val-img'
FLAGS = ('Name the files with --train-ann, --train-img, --val-ann and --val-img, choose splits with --train-split '
         '--val-split, or choose another folder with --data-root')
LOOKED_FOR = ('COCO (annotations/instances_*.json, or one JSON file in the folder), Roboflow\'s COCO '
              '(train/_annotations.coco.json), YOLO (data.yaml, or images/ and labels/), Pascal VOC '
              '(XML files in Annotations/ or beside the images), VGG VIA and labelme (JSON files, beside the images '
              'or in train/ and val/)')


@dataclass(frozen=True)
class Layout:
    """A recognised data set.

    Attributes:
        name: 'COCO', 'Roboflow COCO', 'COCO files', 'YOLO', 'Pascal VOC', 'VGG VIA' or 'labelme'.
        splits: names of the splits.
    """

    name: str
    root: Path
    splits: tuple[str, ...]
    reader: Callable[[str, bool], Source] = field(repr=False, compare=False)

    @property
    def train(self) -> str:
        """Name of the split to train on, if none is chosen.

        Raises:
            DataError: no split has a usual name, and there are several.
        """
        name = _default_train(self.splits)
        if name is None:
            raise DataError(f'{self.root} ({self.name}) has no train split, but {shorten(self.splits)}. Choose what to '
                            'train on with --train-split, or name the files with --train-ann and --train-img.')
        return name

    @property
    def val(self) -> str | None:
        """Name of the split to validate on, if none is chosen; None if there is none. Never the train split."""
        return _first(VAL, [name for name in self.splits if name != _default_train(self.splits)])

    def read(self, split: str, upright: bool = True) -> Source:
        """Read a split.

        Args:
            upright: the EXIF orientation is applied to images.

        Raises:
            DataError: there is no such split, or its files are missing or cannot be read.
        """
        if split not in self.splits:
            raise DataError(f'{self.root} ({self.name}) has no split {split!r}. It has {shorten(self.splits)}: choose '
                            'one of these with --train-split or --val-split.')
        try:
            return self.reader(split, upright)
        except OSError as error:
            raise DataError(f'the {split} split of {self.root} cannot be read ({reason(error)}).') from None


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for want in wanted for name in names if name.lower() == want), None)


def _default_train(splits: Sequence[str]) -> str | None:
    only = splits[0] if len(splits) == 1 and _first(VAL, splits) is None else None
    return _first(TRAIN, splits) or only


def recognise(root: Path) -> Layout:
    """Return the layout of the data set in `root`.

    Raises:
        DataError: `root` is not a folder, is in no known layout, or in several.
    """
    if not root.is_dir():
        raise DataError(f'the data folder {root.absolute()} does not exist. Choose another one')
    try:
        layouts = _layouts(root)
        if len(layouts) == 1:
            return next(iter(layouts.values()))()
        raise DataError(_not_one(root, list(layouts)))
    except OSError as error:
        raise DataError(f'{root} cannot be read ({reason(error)}).') from None


def _not_one(root: Path, names: list[str]) -> str:
    """Return the message for a folder in several layouts, or in none."""
    if names:
        return f'{root} holds several layouts: {" and ".join(names)}. {FLAGS}.'
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    below = [f'{folder} ({name})' for folder in folders for name in _layouts(folder)]
    if below:
        return f'{root} is not a data set, but it holds some: {shorten(below)}. Choose one with --data-root.'
    hint = export_hint(root)
    if hint:
        return f'{hint} {root} is in no layout that ghostdet knows.'
    xml = next((file for pattern in ('*.xml', '*/*.xml') for file in root.glob(pattern)), None)
    hint = (f' For Pascal VOC, put XML files such as {xml.name} into Annotations/ and images into JPEGImages/.'
            if xml else '')
    there = [path.name + '/' * path.is_dir() for path in sorted(root.iterdir())]
    return (f'{root} is in no layout that ghostdet knows. Looked for {LOOKED_FOR}. There: '
            f'{shorten(there) or "nothing"}. {FLAGS}.{hint}')


def _layouts(root: Path) -> dict[str, Callable[[], Layout]]:
    """Return name -> constructor of each layout that `root` is in.

    JSON files in the folder itself count only if there is nothing else: they may be of any program. So do those of VGG
    VIA and labelme, and XML files that are not where Pascal VOC has them.
    """
    layouts: dict[str, Callable[[], Layout]] = {}
    files = _roboflow(root) or _annotation_folder(root)
    if is_yolo(root):
        layouts['YOLO'] = partial(_yolo, root)
    if is_voc(root):
        layouts['Pascal VOC'] = partial(_voc, root, [root])
    if not files and not layouts:
        files = COCO, _named_files(sorted(root.glob('*.json')))
        by_via, by_labelme = _via_files(root), labelme_splits(root)
        by_voc = [root] if is_like_voc(root) else list(filter(is_like_voc, split_folders(root)))
        layouts |= {'Pascal VOC': partial(_voc, root, by_voc)} if by_voc and not files[1] else {}
        layouts |= {VIA: partial(_via, root, by_via)} if by_via else {}
        layouts |= {LABELME: partial(_labelme, root, by_labelme)} if by_labelme else {}
    if files and files[1]:
        layouts[files[0]] = partial(Layout, files[0], root, tuple(files[1]), partial(_read_coco, root, files[1]))
    return layouts


# ----------------------------------------------------------------------------------------------------------------- COCO

def _roboflow(root: Path) -> tuple[str, dict[str, Path]] | None:
    files = {file.parent.name: file for file in sorted(root.glob(f'*/{ROBOFLOW}'))}
    alone = root / ROBOFLOW
    files = files or ({'train': alone} if alone.is_file() else {})
    return ('Roboflow COCO', files) if files else None


def _annotation_folder(root: Path) -> tuple[str, dict[str, Path]] | None:
    files = sorted((root / 'annotations').glob('*.json'))
    usual = {file.stem.removeprefix(prefix): file for prefix in PREFIXES for file in files
             if file.name.startswith(prefix)}
    if any((root / name).is_dir() or name in ('train2017', 'val2017') for name in usual):
        return 'COCO', usual
    usual = usual or _named_files(files)
    return (COCO, usual) if usual else None


def _named_files(files: Sequence[Path]) -> dict[str, Path]:
    """Return file name -> file for JSON files that may be COCO's: with images in them, and not of another task."""
    return {file.stem: file for file in of_kind(COCO, files) if not file.name.startswith(OTHER_TASKS)}


def _read_coco(root: Path, files: dict[str, Path], name: str, upright: bool) -> Source:
    """Read an annotation file. Only the train split must have annotations."""
    file = files[name]
    content = read_annotations(Split(name, file, root), unlabelled=name != _default_train(tuple(files)))
    split = Split(name, file, _image_folder(root, name, file, content, NAME_IMAGES))
    return Source(split, {'annotations': [], **content}, annotated='annotations' in content, upright=upright)


def _image_folder(root: Path, split: str, file: Path, content: dict[str, Any], cure: str) -> Path:
    """Return the image folder of a split: a usual one that has some of its images, else the one that has most.

    Splits often number their images alike, so another split's folder may have all the names.
    """
    records = [image for image in content['images'] if isinstance(image, dict)]
    names = [image['file_name'] for image in records if isinstance(image.get('file_name'), str)]
    probes = [name.replace('\\', '/') for name in names[::max(1, len(names) // PROBED)]]
    usual = [root / folder / name for folder in ('', 'images')
             for name in (split, split.replace('-dev', ''))] + [root / 'images']
    others = [file.parent, root, *sorted(path for path in root.iterdir() if path.is_dir())]
    hits = {folder: sum(os.path.isfile(os.path.join(folder, name)) for name in probes)
            for folder in dict.fromkeys(usual + others) if folder.is_dir()}
    best = next((folder for folder in usual if hits.get(folder)), max(hits, key=lambda folder: hits[folder]))
    if probes and not hits[best] and best not in usual:
        raise DataError(f'the images of {file} are missing, such as {names[0][:MAX_TEXT]}. Looked in '
                        f'{shorten(list(map(str, hits)))}. {cure}.')
    return best


# ------------------------------------------------------------------------------------------------------- other layouts

def _yolo(root: Path) -> Layout:
    splits = yolo_splits(root)
    names = cache(partial(yolo_names, root))  # of all splits, so that they number the classes alike

    def read(name: str, upright: bool) -> Source:
        content, problems = read_yolo(root, splits[name], names(), upright)
        return Source(Split(name, yaml_file(root) or root, root), content, problems, any(map(label_file, splits[name])),
                      upright)

    return Layout('YOLO', root, tuple(splits), read)


def _voc(root: Path, folders: list[Path]) -> Layout:
    """Return the layout of a set in `root` itself, or with a folder for each split."""
    splits = {name if folder is root else folder.name: (folder, names)
              for folder in folders for name, names in voc_splits(folder).items()}
    classes = cache(lambda: sorted({name for folder in folders for name in voc_classes(folder)}))

    def read(name: str, upright: bool) -> Source:
        folder, names = splits[name]
        content, problems = read_voc(folder, names, classes())
        listed = folder / LISTS / f'{name}.txt'
        return Source(Split(name, listed if listed.is_file() else folder, folder), content, problems,
                      is_labelled(folder, names), upright)

    return Layout('Pascal VOC', root, tuple(splits), read)


def _via_files(root: Path) -> dict[str, Path]:
    """Return split name -> JSON file of VGG VIA: of the folders `train`, `val`, ..., else of the folder itself.

    Raises:
        DataError: the folder of a split has several.
    """
    splits = {folder.name: of_kind(VIA, sorted(folder.glob('*.json'))) for folder in split_folders(root)}
    for name, files in splits.items():
        if len(files) > 1:
            raise DataError(f'{root / name} holds several JSON files of VGG VIA: {shorten([f.name for f in files])}. '
                            'Move all but one to another folder.')
    alone = next(filter(None, (of_kind(VIA, sorted(root.glob(f'{folder}*.json'))) for folder in ('', 'annotations/'))),
                 [])
    by_name = dict(train=alone[0]) if len(alone) == 1 else {file.stem: file for file in alone}
    return {name: files[0] for name, files in splits.items() if files} or by_name


def _via(root: Path, files: dict[str, Path]) -> Layout:
    records = cache(lambda: {name: via_records(file) for name, file in files.items()})
    classes = cache(lambda: via_classes([one for split in records().values() for one in split], root))

    def read(name: str, upright: bool) -> Source:
        content, problems, notes = read_via(files[name], records()[name], classes())
        images = _image_folder(root, name, files[name], content, 'Put them beside the JSON file')
        return Source(Split(name, files[name], images), content, problems, upright=upright, notes=notes)

    return Layout(VIA, root, tuple(files), read)


def _labelme(root: Path, files: dict[str, list[Path]]) -> Layout:
    parsed = cache(lambda: parse_labelme(files))

    def read(name: str, upright: bool) -> Source:
        content, problems = read_labelme(root, files[name], parsed(), labelme_classes(parsed()))
        return Source(Split(name, root, root), content, problems, upright=upright)

    return Layout(LABELME, root, tuple(files), read)
