"""Count what a data set has: images, classes, sizes of images and boxes. Draw some images with their boxes."""
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ghostdet.data.checked import Checked
from ghostdet.data.crowds import ignored
from ghostdet.images.drawing import Sheet
from ghostdet.tables import aligned_table

SIDE = 416  # longer side of an image in the config that trains on data alone
SMALL = 16  # pixels; a detector misses many boxes below it
MANY_SMALL = 0.01  # fraction of the boxes from which on it is said
AREAS = (32 ** 2, 96 ** 2)  # COCO's limits between small, medium and large boxes, in square pixels
COUNTED = 100  # detections of an image that COCO's evaluation counts


def write_overview(checked: Checked, folder: Path) -> str:
    """Write what a split has, with the notes of its check, to `{split}.txt`, and twelve images to `{split}.png`.

    Returns:
        The text.
    """
    name = checked.split.name
    text = f'{checked.summary()}\n\n{overview(checked)}\n'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{name}.txt').write_text(text, 'utf-8', errors='backslashreplace')
    draw_images(checked.content, checked.split.images, folder / f'{name}.png', checked.upright, bits=checked.bits)
    return text


def overview(checked: Checked) -> str:
    """Return a table of the classes and a few lines on sizes. Crowd regions are counted apart.

    The column "crowd" has all records that training and evaluation ignore: also difficult objects of Pascal VOC.
    """
    images, annotations = checked.content['images'], checked.content['annotations']
    boxes = [box for box in annotations if not box.get('iscrowd')]
    crowds = Counter(box['category_id'] for box in annotations if box.get('iscrowd'))
    sides = [box['bbox'][2:] for box in boxes]
    sizes = Counter((box['category_id'], sum(width * height >= area for area in AREAS))
                    for box, (width, height) in zip(boxes, sides))
    holders = Counter(category for _, category in {(box['image_id'], box['category_id']) for box in boxes})
    rows = [['class', 'boxes', 'images', 'small', 'medium', 'large', 'crowd']]
    for category in checked.content['categories']:
        counts = [sizes[category['id'], size] for size in range(3)]
        rows.append([category['name'], *map(str, [sum(counts), holders[category['id']], *counts,
                                                  crowds[category['id']]])])
    empty = len(images) - len({box['image_id'] for box in boxes})
    lines = [f'{checked.split.name}: {len(images)} images ({empty} without a box), {len(boxes)} boxes'
             f'{ignored(annotations)}',
             aligned_table(rows), _sizes('images', [(image['width'], image['height']) for image in images])]
    lines.append(_objects(images, boxes))
    if boxes:
        ratios = sorted(width / height for width, height in sides)
        low, high = ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]
        shown = {image['id']: SIDE / max(image['width'], image['height']) for image in images}
        small = sum(shown[box['image_id']] ** 2 * width * height < SMALL ** 2
                    for box, (width, height) in zip(boxes, sides)) / len(boxes)
        tiles = f', or tiles: {cut_command(SIDE)}' if min(shown.values()) < 1 else ''  # 1: images of a tile's size
        lines += [f'at {SIDE} pixels, as the default config resizes images, {small:.0%} of the boxes are smaller than '
                  f'{SMALL}x{SMALL}: a larger --scale helps{tiles}'] if small > MANY_SMALL else []
        lines += [_sizes('boxes', sides),
                  f'width / height of boxes: median {median(ratios):.2f}, nine of ten from {low:.2f} to {high:.2f}']
    return '\n'.join(lines)


def cut_command(side: int) -> str:
    """Return the command that cuts a data set into tiles of `side` pixels, for a message."""
    return f'"ghostdet data DIR --tiles {side} --out DIR2"'


def _objects(images: Sequence[dict], boxes: Sequence[dict]) -> str:
    counts = Counter(box['image_id'] for box in boxes)
    numbers = [counts[image['id']] for image in images]
    many = sum(number > COUNTED for number in numbers)
    return (f'objects an image: median {median(numbers):g}, most {max(numbers)}' + (
        f'; {many} images have more than {COUNTED}, the most that COCO\'s evaluation counts' if many else ''))


def _sizes(what: str, sides: Sequence[Sequence[float]]) -> str:
    widths, heights = zip(*sides)
    return (f'{what}: median {median(widths):.0f}x{median(heights):.0f} pixels, widths {min(widths):.0f} to '
            f'{max(widths):.0f}, heights {min(heights):.0f} to {max(heights):.0f}')


def draw_images(content: dict[str, Any], images: Path, out: Path, upright: bool = True, count: int = 12,
                bits: int | None = None) -> None:
    """Draw `count` images from all over the split with their boxes.

    Args:
        upright: apply the EXIF orientation.
        bits: depth of images of more than 8 bits.
    """
    boxes: dict[int, list[dict]] = {}
    for box in content['annotations']:
        boxes.setdefault(box['image_id'], []).append(box)
    filled = [image for image in content['images'] if image['id'] in boxes] or content['images']
    sheet = Sheet(content, images, upright, bits)
    for image in filled[::max(1, len(filled) // count)][:count]:
        sheet.add(image, boxes.get(image['id'], []), image['file_name'][-40:])
    sheet.write(out, 4)
