"""Count what a data set has: images, classes, sizes of images and boxes. Draw some images with their boxes."""
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ghostdet.data.check import Checked
from ghostdet.images.drawing import Sheet
from ghostdet.tables import aligned_table

AREAS = (32 ** 2, 96 ** 2)  # COCO's limits between small, medium and large boxes, in square pixels


@dataclass(frozen=True)
class ClassCount:
    """The boxes of one class: their number, the images with them, and the numbers of small, medium and large ones."""

    name: str
    boxes: int
    images: int
    sizes: tuple[int, int, int]


@dataclass(frozen=True)
class Overview:
    """What a split has.

    Attributes:
        name: name of the split.
        image_sizes: width and height of each image in pixels.
        box_sides: width and height of each box in pixels.
        empty: number of images without a box.
    """

    name: str
    image_sizes: tuple[tuple[int, int], ...]
    box_sides: tuple[tuple[float, float], ...]
    empty: int
    classes: tuple[ClassCount, ...]

    def to_text(self) -> str:
        """Return a table of the classes and a few lines on sizes."""
        table = aligned_table([['class', 'boxes', 'images', 'small', 'medium', 'large'],
                               *([one.name, str(one.boxes), str(one.images), *map(str, one.sizes)]
                                 for one in self.classes)])
        lines = [f'{self.name}: {len(self.image_sizes)} images ({self.empty} without a box), {len(self.box_sides)} '
                 'boxes', table, _sizes('images', self.image_sizes)]
        if self.box_sides:
            ratios = sorted(width / height for width, height in self.box_sides)
            low, high = ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]
            lines += [_sizes('boxes', self.box_sides),
                      f'width / height of boxes: median {median(ratios):.2f}, nine of ten from {low:.2f} to {high:.2f}']
        return '\n'.join(lines)


def _sizes(what: str, sides: tuple[tuple[float, float], ...]) -> str:
    widths, heights = zip(*sides)
    return (f'{what}: median {median(widths):.0f}x{median(heights):.0f} pixels, widths {min(widths):.0f} to '
            f'{max(widths):.0f}, heights {min(heights):.0f} to {max(heights):.0f}')


def overview(name: str, content: dict[str, Any]) -> Overview:
    """Count the records of a split that passed its check. Crowd regions are not counted."""
    boxes = [box for box in content['annotations'] if not box.get('iscrowd')]
    with_boxes = {box['image_id'] for box in boxes}
    counts = Counter((box['category_id'], sum(box['bbox'][2] * box['bbox'][3] >= area for area in AREAS))
                     for box in boxes)
    images = Counter(category for _, category in {(box['image_id'], box['category_id']) for box in boxes})
    classes = []
    for category in content['categories']:
        sizes = (counts[category['id'], 0], counts[category['id'], 1], counts[category['id'], 2])
        classes.append(ClassCount(category['name'], sum(sizes), images[category['id']], sizes))
    return Overview(name, tuple((image['width'], image['height']) for image in content['images']),
                    tuple((box['bbox'][2], box['bbox'][3]) for box in boxes),
                    sum(image['id'] not in with_boxes for image in content['images']), tuple(classes))


def write_overview(checked: Checked, folder: Path) -> str:
    """Write a split's content and findings to `{split}.txt` in a folder, and twelve images to `{split}.png`.

    Returns:
        The text.
    """
    name = checked.split.name
    text = f'{checked.summary()}\n\n{overview(name, checked.content).to_text()}\n'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{name}.txt').write_text(text, encoding='utf-8')
    draw_images(checked.content, checked.split.images, folder / f'{name}.png', checked.upright)
    return text


def draw_images(content: dict[str, Any], images: Path, out: Path, upright: bool = True, count: int = 12) -> None:
    """Draw `count` images, spread over the split, with their boxes.

    Args:
        upright: turn images as their EXIF orientation says.
    """
    boxes: dict[int, list[dict]] = {}
    for box in content['annotations']:
        boxes.setdefault(box['image_id'], []).append(box)
    filled = [image for image in content['images'] if image['id'] in boxes] or content['images']
    sheet = Sheet(content, images, upright)
    for image in filled[::max(1, len(filled) // count)][:count]:
        sheet.add(image, boxes.get(image['id'], []), image['file_name'][-40:])
    sheet.write(out, 4)
