"""Draw boxes on a picture."""
import colorsys
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ghostdet.runtime.detections import Detections

GOLDEN = 0.618033988749895  # step from one hue to the next, in turns of the colour wheel: any number of hues stays well apart


def draw(picture: np.ndarray, detections: Detections) -> np.ndarray:
    """Return a copy of an RGB picture (H, W, 3) with boxes, classes and scores. Higher scores are drawn on top."""
    image = Image.fromarray(picture)
    canvas = ImageDraw.Draw(image)
    font, line = _font(max(12, min(image.size) // 32)), max(2, min(image.size) // 240)
    for box, score, label in zip(detections.boxes[::-1], detections.scores[::-1], detections.labels[::-1]):
        colour = colour_of(int(label))
        left, top, right, bottom = box.tolist()
        canvas.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=line)
        text = f'{detections.classes[label]} {score:.2f}'
        width, height = (int(side) for side in canvas.textbbox((0, 0), text, font=font)[2:])
        # Above the box, or inside it if there is no room above; never past the right border.
        x, y = max(0, min(left, image.width - width - 4)), top - height - 4 if top > height + 4 else top
        canvas.rectangle((x, y, x + width + 4, y + height + 4), fill=colour)
        canvas.text((x + 2, y + 1), text, fill='black', font=font)
    return np.asarray(image)


def colour_of(label: int) -> tuple[int, int, int]:
    """Return the colour of a class as (red, green, blue). It is light enough for black text."""
    red, green, blue = (int(255 * part) for part in colorsys.hsv_to_rgb(label * GOLDEN % 1, 0.65, 1))
    return red, green, blue


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
