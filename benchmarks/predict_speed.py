"""How near `ghostdet predict` comes to what the cores can do: cores / the seconds of all parts of an image on one core.

The network is timed with a request on each core, because requests share memory and clock. Other parts run alone.

python -m benchmarks.predict_speed detector.xml detector.onnx --images coco128/train2017 --out work_dirs/predict_speed
"""
import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.timing import Quartiles
from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.files import make_folder, write_whole
from ghostdet.images.decode import write
from ghostdet.images.drawing import draw
from ghostdet.infer.batch import predict
from ghostdet.infer.cores import usable_cores
from ghostdet.infer.detector import Detector
from ghostdet.infer.inputs import Source, find_sources
from ghostdet.infer.ordered import ordered
from ghostdet.progress import progress
from ghostdet.tables import markdown_table
from ghostdet.training.provenance import machine

PARTS = ('read', 'network', 'draw')


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('files', nargs='+', type=Path, help='files of "ghostdet export"')
    parser.add_argument('--images', type=Path, required=True, metavar='DIR')
    parser.add_argument('--rounds', type=int, default=5, metavar='N', help='default %(default)s')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/predict_speed'), metavar='DIR',
                        help='folder for predict_speed.json and predict_speed.md; default %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Time parts and predictions in turns, and write the table."""
    options = parse(arguments)
    make_folder(options.out, '--out')
    cores = usable_cores()
    with TemporaryDirectory(dir=options.out) as folder:
        sources = find_sources([options.images], Path(folder))
        opened = {file: Detector(file, requests=cores) for file in options.files}
        rounds: dict[Path, list[dict[str, float]]] = {file: [] for file in options.files}
        for number in progress(range(options.rounds + 1), 'rounds'):
            for file, detector in opened.items():
                seconds = {**parts(detector, sources, Path(folder), cores), **whole(detector, sources, Path(folder))}
                rounds[file] += [seconds] * (number > 0)  # the first round warms up
    what = f'{len(sources)} images, {options.rounds} rounds in turns; {machine(0)}, {cores} cores'
    rows = [row for file in options.files for row in lines(file.name, rounds[file], cores)]
    text = f'{what}\n\n{markdown_table([HEADER, *rows])}'
    write_whole(options.out / 'predict_speed.json', json.dumps(
        dict(what=what, cores=cores, seconds={file.name: one for file, one in rounds.items()}), indent=1).encode())
    write_whole(options.out / 'predict_speed.md', f'{text}\n'.encode())
    print(f'\n{text}\n\n{options.out}/predict_speed.json, predict_speed.md')


def parts(detector: Detector, sources: list[Source], out: Path, cores: int) -> dict[str, float]:
    """Return the seconds of each part of an image on one core."""
    def each(work: Callable[..., object], *items: Iterable, workers: int = 1) -> tuple[list, float]:
        begin = time.perf_counter()
        done = list(ordered(zip(*items), lambda item: work(*item), workers))
        return done, (time.perf_counter() - begin) * workers / len(sources)

    def drawn(source: Source, found: list) -> None:
        pixels = detector.pixels(source.file.read_bytes())
        write(draw(pixels, found[0].above(detector.threshold).drawable), out / source.drawn)
    prepared, read = each(lambda source: [detector.prepare(source.file)], sources)
    found, network = each(detector.run, prepared, workers=cores)
    _, draws = each(drawn, sources, found)
    return dict(zip(PARTS, (read, network, draws)))


def whole(detector: Detector, sources: list[Source], out: Path) -> dict[str, float]:
    """Return the seconds of a prediction for an image, without and with pictures."""
    seconds = {}
    for name, draws in (('boxes', False), ('pictures', True)):
        results = predict(detector, sources, out / name, draws=draws)
        seconds[name] = results.seconds / results.images
    return seconds


HEADER = ['file', 'result', 'parts, ms on one core', 'the cores\' limit, images/s', 'predict, images/s', 'of the limit']


def lines(file: str, rounds: list[dict[str, float]], cores: int) -> list[list[str]]:
    """Return lines of a table: medians, with the quartiles in brackets."""
    rows = []
    for name, count in (('boxes', 2), ('pictures', 3)):
        sums = [sum(one[part] for part in PARTS[:count]) for one in rounds]
        limits, reached = ([cores / value for value in sums], [1 / one[name] for one in rounds])
        texts = [' + '.join(f'{1000 * Quartiles.of([one[part] for one in rounds]).median:.1f}'
                            for part in PARTS[:count])]
        for values, digits in ((limits, 1), (reached, 1), ([mine / limit for mine, limit in zip(reached, limits)], 2)):
            spread = Quartiles.of(values)
            texts.append(f'{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})')
        rows.append([file, name, *texts])
    return rows


if __name__ == '__main__':
    sys.exit(door.run(main))
