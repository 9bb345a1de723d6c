"""Draw boxes on images, and sheets of such images: for predictions, for reports and for data sets."""
import colorsys
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ghostdet.images.decode import check_whole, decode, naming, write
from ghostdet.images.fonts import one_line, runs
from ghostdet.images.opencv import cv2
from ghostdet.images.resize import fitted

GOLDEN = 0.618033988749895  # step from hue to hue, in turns of the colour wheel: neighbouring classes stay well apart
# In pixels: the longer side of an image on a sheet, the height of the line above it, and the gap between columns.
CELL, TITLE, GAP = 320, 18, 4
REMARK = '_remark'  # key of a record with more text for its label
KEPT = 5  # characters at the end of a text that is too long: a score and a space
Label = tuple[Sequence[float], int, str]  # left, top, right, bottom in pixels; index of the class; text
fit_cell = partial(fitted, box=(CELL, CELL))  # width and height of an image -> on a sheet


def draw(image: np.ndarray, labels: Iterable[Label]) -> np.ndarray:
    """Return a copy of an RGB image (H, W, 3) with boxes and their texts. Later ones lie on top."""
    drawn, labels = Image.fromarray(image), list(labels)
    canvas = ImageDraw.Draw(drawn)
    size = text_size(drawn.size, [box for box, _, _ in labels])
    line = max(2, size // 7)
    for (left, top, right, bottom), label, text in labels:
        colour = colour_of(label)
        canvas.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=line)
        words = _fit(text, size, drawn.width - 4)
        # Above the box, or inside it if there is no room above; never past a border of the image.
        x, y = left, top - words.height - 4 if top > words.height + 4 else max(0, top)
        x, y = max(0, min(x, drawn.width - words.width - 4)), max(0, min(y, drawn.height - words.height - 4))
        canvas.rectangle((x, y, x + words.width + 4, y + words.height + 4), fill=colour)
        words.draw(canvas, x + 2, y + 1)
    return np.asarray(drawn)


def text_size(sides: tuple[int, int], boxes: Sequence[Sequence[float]]) -> int:
    """Return the size of text in pixels: a part of the image, but small beside most boxes, so that it hides few.

    Args:
        sides: width and height of the image in pixels.
        boxes: left, top, right, bottom of each box in pixels.
    """
    usual = median(max(right - left, bottom - top) for left, top, right, bottom in boxes) if boxes else 0
    return max(12, int(min(*sides, 8 * usual) / 32))


def colour_of(label: int) -> tuple[int, int, int]:
    """Return the colour of a class as (red, green, blue). It is light enough for black text."""
    red, green, blue = (int(255 * part) for part in colorsys.hsv_to_rgb(label * GOLDEN % 1, 0.65, 1))
    return red, green, blue


class Line:
    """A line of text in the fonts that have its letters.

    Args:
        text: without line breaks.
        size: of the fonts, in pixels.
    """

    def __init__(self, text: str, size: int) -> None:
        self.parts = [(part, face.sized(size)) for part, face in runs(text)]
        boxes = [font.getbbox(part, anchor='ls') for part, font in self.parts]  # from the start of the baseline
        self.starts = [0.0]
        for part, font in self.parts:
            self.starts.append(self.starts[-1] + font.getlength(part))
        self.above = max(font.getmetrics()[0] for _, font in self.parts)
        self.width = int(max(start + box[2] for start, box in zip(self.starts, boxes)))
        self.height = int(self.above + max(box[3] for box in boxes))

    def draw(self, canvas: ImageDraw.ImageDraw, x: float, y: float) -> None:
        """Draw the text in black; `x` and `y` are its left upper corner."""
        for start, (part, font) in zip(self.starts, self.parts):
            canvas.text((x + start, y + self.above), part, fill='black', font=font, anchor='ls')


def _fit(text: str, size: int, room: int) -> Line:
    """Return a text of at most `room` pixels. The middle of a longer one is left out: a score is at its end."""
    text = one_line(text)
    line = Line(text, size)
    if line.width <= room or len(text) <= KEPT:
        return line

    def cut(count: int) -> Line:
        return Line(f'{text[:count].strip()}\u2026{text[-KEPT:]}', size)
    return cut(max(0, bisect_right(range(len(text) - KEPT), room, key=lambda count: cut(count).width) - 1))


class Sheet:
    """Images of a data set in COCO's format with their boxes, in a grid.

    Args:
        content: images and categories.
        folder: of the images.
        upright: apply the EXIF orientation.
        bits: depth of images of more than 8 bits, as in `ghostdet.images.decode.eight_bits`.
    """

    def __init__(self, content: dict[str, Any], folder: Path, upright: bool = True, bits: int | None = None) -> None:
        self.folder, self.upright, self.bits = folder, upright, bits
        self.names = {category['id']: category['name'] for category in content['categories']}
        self.cells: list[np.ndarray] = []

    def add(self, image: dict, boxes: Iterable[dict], title: str) -> None:
        """Add an image with boxes: annotations or detections.

        Raises:
            DataError: the image cannot be read.
        """
        with naming(self.folder / image['file_name']) as file:
            content = Path(file).read_bytes()
            check_whole(content)
            pixels, times = decode(content, fit_cell, self.upright, self.bits)
        sides = fit_cell(*(times * side for side in pixels.shape[1::-1]))
        how = cv2.INTER_AREA if sides[0] < pixels.shape[1] else cv2.INTER_LINEAR
        resized = cv2.cvtColor(cv2.resize(pixels, sides, interpolation=how), cv2.COLOR_BGR2RGB)
        factor = sides[0] / (times * pixels.shape[1])
        drawn = draw(resized, (self._label(box, factor) for box in sorted(boxes, key=lambda box: box.get('score', 1))))
        cell = Image.new('RGB', (CELL, TITLE + sides[1]), 'white')
        cell.paste(Image.fromarray(drawn), ((CELL - sides[0]) // 2, TITLE))
        _fit(title, 12, CELL - 4).draw(ImageDraw.Draw(cell), 2, 1)
        self.cells.append(np.asarray(cell))

    def _label(self, box: dict, factor: float) -> Label:
        x, y, width, height = (factor * side for side in box['bbox'])
        more = f' {box["score"]:.2f}' if 'score' in box else ' (crowd)' if box.get('iscrowd') else ''
        more += f', {box[REMARK]}' if REMARK in box else ''
        name = self.names[box['category_id']]
        return (x, y, x + width, y + height), list(self.names).index(box['category_id']), f'{name}{more}'

    def write(self, file: Path, columns: int) -> None:
        """Write the grid, row by row, as a PNG."""
        rows = [self.cells[start:start + columns] for start in range(0, len(self.cells), columns)]
        heights = [max(cell.shape[0] for cell in row) for row in rows]
        sheet = np.full((sum(heights), columns * (CELL + GAP), 3), 255, np.uint8)
        for number, row in enumerate(rows):
            top = sum(heights[:number])
            for left, cell in zip(range(0, sheet.shape[1], CELL + GAP), row):
                sheet[top:top + cell.shape[0], left:left + CELL] = cell
        write(sheet, file)
