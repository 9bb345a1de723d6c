"""Write a data set in COCO's format record by record, so that it fills no memory."""
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from ghostdet.files import beside, write_whole

MAKER = 'ghostdet'  # the contributor that is written


class CocoFile:
    """A file of images and annotations with scores. At the end of the `with` block, also after an error, it is whole.

    Args:
        file: its name.
        classes: class names, in the order of the labels.

    Attributes:
        left_out: messages about images that are missing; they are written as `info.left_out`.
    """

    def __init__(self, file: Path, classes: Sequence[str]) -> None:
        self.file, self.left_out = file, list[str]()
        self.categories = [dict(id=label, name=name) for label, name in enumerate(classes, 1)]
        self.numbers = dict(images=0, annotations=0)

    def __enter__(self) -> 'CocoFile':
        empty = dict(self._rest(), images=[], annotations=[])
        write_whole(self.file, json.dumps(empty).encode())  # fails here if the folder cannot be written
        self.part = beside(self.file)  # not of another run into the same folder
        self.annotations: IO[str] = self.part.open('w', encoding='utf-8')
        self.images: IO[str] = TemporaryFile('w+', dir=self.file.parent, encoding='utf-8')
        self.annotations.write('{"annotations": [')
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with self.annotations, self.images:
                self.images.seek(0)
                self.annotations.write('],\n"images": [')
                shutil.copyfileobj(self.images, self.annotations)
                self.annotations.write(f'],\n{json.dumps(self._rest())[1:]}')
                self.annotations.flush()
                os.fsync(self.annotations.fileno())
            self.part.replace(self.file)
        except BaseException:
            with suppress(OSError):
                self.part.unlink(missing_ok=True)
            raise

    def add(self, image: dict[str, Any], detections: Iterable[dict[str, Any]]) -> None:
        """Write the record of an image, and those of its detections: `category_id`, `bbox` and `score`."""
        number = self._write(self.images, 'images', image)
        for record in detections:
            area = round(record['bbox'][2] * record['bbox'][3], 3)
            self._write(self.annotations, 'annotations', dict(record, image_id=number, area=area, iscrowd=0))

    def _write(self, file: IO[str], kind: str, record: dict[str, Any]) -> int:
        self.numbers[kind] += 1
        file.write(f'{"," * (self.numbers[kind] > 1)}\n{json.dumps(dict(id=self.numbers[kind], **record))}')
        return self.numbers[kind]

    def _rest(self) -> dict[str, Any]:
        return dict(info=dict(contributor=MAKER, left_out=self.left_out), categories=self.categories)
