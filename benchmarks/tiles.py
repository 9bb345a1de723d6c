"""Small objects in large images: detectors that see whole images, and one that sees tiles, on generated data.

python -m benchmarks.tiles --out work_dirs/tiles
"""
import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.files import write_json, write_whole
from ghostdet.images.decode import decode
from ghostdet.tables import markdown_table
from ghostdet.training.provenance import machine

SIDE = 3000  # pixels of an image
DIAMETER = 40  # pixels of a disc
DISCS, OTHERS = 60, 60  # objects of an image, and rings and squares of the same colours, which are none
COLOURS = {'red': (60, 60, 200), 'green': (60, 190, 60), 'blue': (200, 90, 60)}  # BGR, of the classes
TILE, SCALE = 416, 1216  # pixels: what the default config sees, and the scale at which a disc has 16 pixels
MAX_OBJECTS = 200
SHOWN = 700  # pixels of an image in the chart
THRESHOLD = 0.3


@dataclass(frozen=True)
class Row:
    """One way to detect: the network, what it sees, the metrics, and the seconds for an image.

    `count_error` is the mean absolute difference of the boxes found and drawn, at the threshold with the best F1.
    """

    training: str
    detection: str
    AP: float
    AP50: float
    F1: float
    count_error: float
    seconds: float


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/tiles'),
                        help='folder for data, runs, tiles.json, tiles.md and tiles.png; default %(default)s')
    parser.add_argument('--train', type=int, default=16, metavar='N', help='training images; default %(default)s')
    parser.add_argument('--test', type=int, default=6, metavar='N', help='test images, at least 2; default %(default)s')
    parser.add_argument('--side', type=int, default=SIDE, metavar='N', help='pixels of an image; default %(default)s')
    parser.add_argument('--minutes', type=float, default=5, metavar='N',
                        help='time for each of the two trainings; default %(default)s')
    parser.add_argument('--load-from', metavar='FILE', help='start from these weights; default: the config\'s')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='settings of both trainings')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Generate the data, train on whole images and on tiles, test, and write table and chart."""
    options = parse(arguments)
    data, tiles = options.out / 'data', options.out / 'data_tiles'
    for folder in (data, tiles):
        shutil.rmtree(folder, ignore_errors=True)
    write_data(data, options.train, options.test, options.side)
    ghostdet('data', data, '--tiles', TILE, '--out', tiles, '--work-dir', options.out / 'overview')
    start = ['--load-from', options.load_from] if options.load_from else []
    settings = ['--cfg-options', *options.cfg_options] if options.cfg_options else []
    for name, root in (('whole', data), ('tiles', tiles)):
        ghostdet('train', '--data-root', root, '--work-dir', options.out / name, '--minutes', options.minutes,
                 '--max-objects', MAX_OBJECTS, *start, *settings)
    rows = [tested(options, 'whole', f'whole images at {TILE}', []),
            tested(options, 'whole', f'whole images at {SCALE}', ['--scale', SCALE]),
            tested(options, 'tiles', 'tiles', ['--tiles'])]
    write_whole(options.out / 'tiles.json', json.dumps(
        dict(machine=machine(0), options=vars(options), rows=list(map(asdict, rows))), default=str, indent=1).encode())
    write_whole(options.out / 'tiles.md', f'{table(rows)}\n'.encode())
    draw(options.out, rows)
    print(f'\n{table(rows)}\n\n{options.out}/tiles.json, tiles.md, tiles.png')


def ghostdet(*words: Any) -> float:
    """Print and run a command of ghostdet. Return its seconds."""
    command = [sys.executable, '-m', 'ghostdet', *map(str, words)]
    print('\n$', ' '.join(command), flush=True)
    begin = time.monotonic()
    if subprocess.run(command).returncode:
        raise UserError(f'{words[0]} failed; its error message is above')
    return time.monotonic() - begin


def tested(options: argparse.Namespace, training: str, detection: str, more: list[Any]) -> Row:
    """Test a run on the whole test images. The seconds are those of all images but the first, without the start."""
    data = ['--data-root', options.out / 'data', '--val-img', 'val2017', '--max-objects', MAX_OBJECTS, *more]
    seconds = {name: ghostdet('test', options.out / training, *data, '--val-ann', f'annotations/instances_{name}.json',
                              '--work-dir', folder(options.out, detection) / name) for name in ('one', 'val2017')}
    results = folder(options.out, detection) / 'val2017'
    metrics = json.loads((results / 'coco.json').read_text())['metrics']
    point = json.loads((results / 'threshold.json').read_text())['all']
    return Row(training, detection, metrics['AP'], metrics['AP50'], point['F1'], point['mean_absolute_count_error'],
               (seconds['val2017'] - seconds['one']) / (options.test - 1))


def folder(out: Path, detection: str) -> Path:
    """Return the folder of a test."""
    return out / f'test_{detection.replace(" ", "_")}'


# ------------------------------------------------------------------------------------------------------------ the data

def write_data(root: Path, train: int, test: int, side: int) -> None:
    """Write generated images and boxes in COCO's layout, the same each time; `one` has the first test image."""
    for seed, (split, count) in enumerate((('train2017', train), ('val2017', test))):
        (root / split).mkdir(parents=True)
        images, boxes = [], list[dict]()
        for number in range(1, count + 1):
            pixels, found = picture(side, np.random.default_rng([seed, number]))
            cv2.imwrite(str(root / split / f'{number}.jpg'), pixels)
            images.append(dict(id=number, file_name=f'{number}.jpg', width=side, height=side))
            boxes += [dict(box, id=len(boxes) + index, image_id=number) for index, box in enumerate(found, 1)]
        content = dict(images=images, annotations=boxes,
                       categories=[dict(id=index, name=name) for index, name in enumerate(COLOURS, 1)])
        write_json(root / f'annotations/instances_{split}.json', content)
    first = [box for box in boxes if box['image_id'] == 1]
    write_json(root / 'annotations/instances_one.json', dict(content, images=images[:1], annotations=first))


def picture(side: int, random: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    """Return BGR pixels (side, side, 3) and records of the discs; none overlaps another shape."""
    rough = cv2.resize(random.integers(80, 170, (side // 50, side // 50), np.uint8), (side, side),
                       interpolation=cv2.INTER_CUBIC)[:, :, None]
    pixels = np.clip(rough + random.integers(-30, 31, (side, side, 3), np.int16), 0, 255).astype(np.uint8)
    cells = side // (2 * DIAMETER)  # one shape in each cell, with room around it
    chosen = random.permutation(cells ** 2)[:round((DISCS + OTHERS) * min(1, (side / SIDE) ** 2))]
    boxes, radius = [], DIAMETER // 2
    for index, cell in enumerate(chosen):
        kind = int(random.integers(len(COLOURS)))
        colour = [int(value) for value in np.array(list(COLOURS.values())[kind]) + random.integers(-30, 30, 3)]
        x, y = (int(value) for value in np.array(divmod(cell, cells)) * 2 * DIAMETER
                + random.integers(radius, 2 * DIAMETER - radius, 2))
        if index % 2:
            cv2.circle(pixels, (x, y), radius, colour, -1, cv2.LINE_AA)
            boxes.append(dict(category_id=kind + 1, bbox=[x - radius, y - radius, DIAMETER, DIAMETER],
                              area=DIAMETER ** 2, iscrowd=0))
        elif index % 4:
            cv2.circle(pixels, (x, y), radius - 4, colour, 7, cv2.LINE_AA)
        else:
            cv2.rectangle(pixels, (x - radius, y - radius), (x + radius, y + radius), colour, -1)
    return pixels, boxes


# ---------------------------------------------------------------------------------------------------------- the report

def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table."""
    return markdown_table([['trained on', 'detects in', 'AP', 'AP50', 'F1', 'count error', 'seconds for an image'], *(
        [row.training, row.detection, f'{row.AP:.3f}', f'{row.AP50:.3f}', f'{row.F1:.3f}',
         f'{row.count_error:.1f}', f'{row.seconds:.2f}'] for row in rows)])


def draw(out: Path, rows: Sequence[Row]) -> None:
    """Draw a part of the first test image with the boxes of each row as a PNG."""
    pixels = decode((out / 'data/val2017/1.jpg').read_bytes())[0][:SHOWN, :SHOWN, ::-1]
    figure = Figure(figsize=(5 * len(rows), 5.4), layout='constrained')
    for axes, row in zip(figure.subplots(1, len(rows)), rows):
        axes.imshow(pixels)
        for box in json.loads((folder(out, row.detection) / 'val2017/detections.bbox.json').read_text()):
            if box['image_id'] == 1 and box['score'] >= THRESHOLD and max(box['bbox'][:2]) < SHOWN:
                axes.add_patch(Rectangle(box['bbox'][:2], *box['bbox'][2:], fill=False, linewidth=1.5, color='yellow'))
        axes.set(title=f'{row.detection}: AP {row.AP:.3f}', xlim=(0, SHOWN), ylim=(SHOWN, 0), xticks=[], yticks=[])
    figure.savefig(out / 'tiles.png', dpi=100)


if __name__ == '__main__':
    sys.exit(door.run(main))
