"""Write detections as labels that annotation programs open, with their images: a first draft for a person to correct.

Each format has the folders and files that the programs import, and `ghostdet data` reads them, too.
"""
import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ghostdet.errors import DISK_FULL, ImageError, UserError, reason
from ghostdet.files import make_folder
from ghostdet.infer.coco_file import CocoFile
from ghostdet.infer.detections import Detections
from ghostdet.infer.inputs import Source

MIN_SIDE = 1.01  # pixels; Pascal VOC, whose pixels belong to the box at both ends, has no smaller boxes
BREAKS = '\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff'  # of lines, and what XML cannot hold
UNSAFE = re.compile(rf'[\s/\\:*?"<>|#%&{BREAKS}]')  # also in lists of files, in addresses, and on Windows
MAX_BYTES = 200  # of a file name without its suffix; most file systems take 255
Box = tuple[int, float, list[float]]  # label, score; left, top, right, bottom in pixels


def image_names(sources: Iterable[Source]) -> dict[str, str]:
    """Return the name of each image in one folder, by the name of its source. No two differ by suffix or case alone.

    >>> image_names([Source(Path('x'), name) for name in ('a 1.jpg', 'b/c.png', 'b_C.jpg')])
    {'a 1.jpg': 'a_1.jpg', 'b/c.png': 'b_c.png', 'b_C.jpg': 'b_C_2.jpg'}
    """
    names, taken = dict[str, str](), set[str]()
    for source in sources:
        stem, suffix = os.path.splitext(UNSAFE.sub('_', source.name))
        stem = unique = (stem.lstrip('.') or '_').encode()[-MAX_BYTES:].decode(errors='ignore')
        number = 1
        while unique.casefold() in taken:
            unique = f'{stem}_{(number := number + 1)}'
        taken.add(unique.casefold())
        names[source.name] = unique + suffix
    return names


class LabelFiles:
    """Labels of one format, with copies of their images: some programs turn images, and write them back.

    Use it in a `with` statement. Boxes are clipped to the image; those of less than a pixel are left out.

    Args:
        folder: for images and labels. It must not exist: a person may have corrected the labels in it.
        sources: all inputs. Videos among them get no labels.
        classes: names of all classes, in the order of the labels.

    Raises:
        UserError: the folder exists, or there is no image among the inputs.
    """

    images = ''  # folder of the images

    def __init__(self, folder: Path, sources: Sequence[Source], classes: Sequence[str]) -> None:
        self.folder, self.classes = folder, [re.sub(f'[{BREAKS}]', ' ', name).strip() for name in classes]
        self.names = image_names(source for source in sources if not source.is_video)
        self.written: list[str] = []
        if not self.names:
            raise UserError('labels are made for images, and the inputs are videos: extract their frames first, for '
                            'example with ffmpeg -i clip.mp4 frames/%06d.png')
        if folder.exists() or any((folder.parent / source.drawn).is_relative_to(folder) for source in sources):
            raise UserError(f'{folder} exists, or an input has this name. It may hold labels that a person corrected: '
                            'remove it, or choose another folder with --out')
        make_folder(folder / self.images, '--out')

    def __enter__(self) -> 'LabelFiles':
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def path(self, name: str) -> str:
        """Return where the image of the source `name` is, relative to the folder that the labels' folder is in."""
        return (Path(self.folder.name) / self.images / self.names[name]).as_posix()

    def add(self, source: Source, detections: Detections, *_: Any) -> None:
        """Write the labels of an image.

        Raises:
            ImageError: they cannot be written.
        """
        if source.name not in self.names:
            return
        height, width = detections.size
        corners = detections.boxes.astype(float).clip(0, (width, height, width, height))
        keep = (corners[:, 2:] - corners[:, :2] >= MIN_SIDE).all(1)
        boxes = zip(detections.labels[keep].tolist(), detections.scores[keep].tolist(), corners[keep].round(3).tolist())
        name = self.names[source.name]
        try:
            shutil.copyfile(source.file, self.folder / self.images / name)
            self._add(name, (width, height), list(boxes))
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            raise ImageError(f'the labels of {source.file} cannot be written ({reason(error)})') from error
        self.written.append(name)

    def _start(self) -> None:
        """Write what does not depend on images."""

    def _add(self, image: str, size: tuple[int, int], boxes: list[Box]) -> None:
        """Write the labels of an image of a width and a height."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Write what follows the last image."""


class Yolo(LabelFiles):
    """Ultralytics' layout of YOLO. It has no scores."""

    images = 'images/train'

    def _start(self) -> None:
        (self.folder / 'labels/train').mkdir(parents=True)
        # a text in JSON is one in YAML, too
        names = [f'  {label}: {json.dumps(name, ensure_ascii=False)}\n' for label, name in enumerate(self.classes)]
        _write(self.folder / 'data.yaml', f'train: {self.images}\nnames:\n{"".join(names)}')

    def _add(self, image: str, size: tuple[int, int], boxes: list[Box]) -> None:
        lines = []
        for label, _, corners in boxes:
            left, top, right, bottom = np.divide(corners, size * 2).tolist()
            lines.append(f'{label} {(left + right) / 2:.8f} {(top + bottom) / 2:.8f} {right - left:.8f} '
                         f'{bottom - top:.8f}\n')
        _write(self.folder / 'labels/train' / f'{Path(image).stem}.txt', ''.join(lines))


class Coco(LabelFiles):
    """COCO's layout, with a score in each annotation. It fills no memory."""

    images = 'images'

    def _start(self) -> None:
        (self.folder / 'annotations').mkdir()
        self.file = CocoFile(self.folder / 'annotations/instances_default.json', self.classes)
        self.file.__enter__()

    def _add(self, image: str, size: tuple[int, int], boxes: list[Box]) -> None:
        records = [dict(category_id=label + 1, score=round(score, 6),
                        bbox=[round(side, 3) for side in (left, top, right - left, bottom - top)])
                   for label, score, (left, top, right, bottom) in boxes]
        self.file.add(dict(file_name=image, width=size[0], height=size[1]), records)

    def _finish(self) -> None:
        self.file.__exit__()


class Voc(LabelFiles):
    """Pascal VOC's layout. Corners count from 1. It has no scores."""

    images = 'JPEGImages'

    def _start(self) -> None:
        for name in ('Annotations', 'ImageSets/Main'):
            (self.folder / name).mkdir(parents=True)
        # CVAT looks for the classes in labelmap.txt
        lines = [f'{name}:::\n' for name in self.classes if ':' not in name]  # the file cannot have such names
        _write(self.folder / 'labelmap.txt', '# label:color_rgb:parts:actions\n' + ''.join(lines))

    def _add(self, image: str, size: tuple[int, int], boxes: list[Box]) -> None:
        root = _element('annotation', folder=self.images, filename=image, segmented=0)
        root.insert(2, _element('size', width=size[0], height=size[1]))
        for label, _, (left, top, right, bottom) in boxes:
            item = _element('object', name=self.classes[label], pose='Unspecified', truncated=0, difficult=0)
            item.append(_element('bndbox', xmin=round(left + 1, 3), ymin=round(top + 1, 3), xmax=right, ymax=bottom))
            root.append(item)
        ElementTree.indent(root)
        _write(self.folder / 'Annotations' / f'{Path(image).stem}.xml', ElementTree.tostring(root, 'unicode') + '\n')

    def _finish(self) -> None:
        _write(self.folder / 'ImageSets/Main/default.txt', ''.join(f'{Path(name).stem}\n' for name in self.written))


class Labelme(LabelFiles):
    """The JSON files of labelme, beside the images. The description of a shape is its score."""

    def _start(self) -> None:
        _write(self.folder / 'labels.txt', ''.join(f'{name}\n' for name in self.classes))

    def _add(self, image: str, size: tuple[int, int], boxes: list[Box]) -> None:
        rectangle: dict[str, Any] = dict(shape_type='rectangle', group_id=None, flags={})
        shapes = [dict(rectangle, label=self.classes[label], points=[corners[:2], corners[2:]],
                       description=f'score {score:.2f}') for label, score, corners in boxes]
        content: dict[str, Any] = dict(version='5.5.0', flags={}, shapes=shapes, imagePath=image, imageData=None,
                                       imageHeight=size[1], imageWidth=size[0])
        _write(self.folder / f'{Path(image).stem}.json', json.dumps(content, ensure_ascii=False, indent=2))


FORMATS: dict[str, type[LabelFiles]] = dict(yolo=Yolo, coco=Coco, voc=Voc, labelme=Labelme)


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding='utf-8', newline='\n')


def _element(tag: str, **fields: Any) -> ElementTree.Element:
    """Return an XML element with an element for each field."""
    element = ElementTree.Element(tag)
    for name, value in fields.items():
        ElementTree.SubElement(element, name).text = str(value)
    return element
