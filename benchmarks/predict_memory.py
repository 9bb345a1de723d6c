"""The memory of `ghostdet predict` over a long run: the images of a folder, again and again by links.

python -m benchmarks.predict_memory detector.xml --images coco128/train2017 --count 10000 --out work_dirs/predict_memory
"""
import argparse
import json
import os
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib.figure import Figure

from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole
from ghostdet.images.listing import image_files
from ghostdet.training.provenance import machine

EVERY = 0.5  # seconds between two values


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('model')
    parser.add_argument('--images', type=Path, required=True, metavar='DIR')
    parser.add_argument('--count', type=int, default=10000, metavar='N', help='images; default %(default)s')
    parser.add_argument('--no-pictures', action='store_true')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/predict_memory'), metavar='DIR',
                        help='folder for predict_memory.json and predict_memory.png; default %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Predict, and draw the memory over time."""
    options = parse(arguments)
    make_folder(options.out, '--out')
    files = image_files(options.images)
    if not files:
        raise UserError(f'there are no images in {options.images}')
    with TemporaryDirectory(dir=options.out) as folder:
        photos = Path(folder) / 'photos'
        photos.mkdir()
        for number, file in enumerate(islice(cycle(files), options.count)):
            os.symlink(file.resolve(), photos / f'{number:06}{file.suffix}')
        words = [sys.executable, '-m', 'ghostdet', 'predict', options.model, photos, '--out', f'{folder}/found',
                 *['--no-pictures'] * options.no_pictures]
        seconds, megabytes, output = watched(list(map(str, words)))
    what = f'{options.count} images, {Path(options.model).name}; {machine(0)}'
    write_whole(options.out / 'predict_memory.json', json.dumps(
        dict(what=what, output=output, seconds=seconds, megabytes=megabytes), indent=1).encode())
    figure = Figure(figsize=(8, 3.5), layout='constrained')
    axes = figure.subplots()
    axes.plot(seconds, megabytes)
    axes.set(xlabel='seconds', ylabel='memory of the process, MB', ylim=(0, None))
    axes.set_title(what, fontsize=8)
    figure.savefig(options.out / 'predict_memory.png', dpi=110)
    middle = len(megabytes) // 2
    print(f'{output}\nmemory after a tenth: {megabytes[len(megabytes) // 10]:.0f} MB, at half: {megabytes[middle]:.0f} '
          f'MB, highest: {max(megabytes):.0f} MB\n{options.out}/predict_memory.json, predict_memory.png')


def watched(words: list[str]) -> tuple[list[float], list[float], str]:
    """Run a command. Return seconds since its start, its memory in MB then, and the last line that it printed.

    Raises:
        UserError: it fails.
    """
    seconds, megabytes, begin = list[float](), list[float](), time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            pages = int(Path(f'/proc/{process.pid}/statm').read_text().split()[1])
            seconds.append(round(time.monotonic() - begin, 2))
            megabytes.append(pages * os.sysconf('SC_PAGE_SIZE') / 1e6)
            time.sleep(EVERY)
        output = process.stdout.read() if process.stdout else ''
    if process.returncode:
        raise UserError(f'{" ".join(words)} failed; its error message is above')
    return seconds, megabytes, (output.strip().splitlines() or [''])[0]


if __name__ == '__main__':
    sys.exit(door.run(main))
