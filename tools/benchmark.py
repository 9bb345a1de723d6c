"""How fast backbones and detectors are, beside each other and beside the machine's limit: tables and charts.

python tools/benchmark.py --preset cpu
python tools/benchmark.py --task training --networks timm ghostnet --shapes 320x320 --batches 2 8
"""
import argparse
import sys
from pathlib import Path

from ghostdet import command
from ghostdet.analysis import benchmark
from ghostdet.analysis.speed_report import write_speed


def shape(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH."""
    height, width = map(int, text.split('x'))
    return height, width


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--preset', choices=benchmark.PRESETS, help='a whole list of races')
    parser.add_argument('--rounds', type=int, default=9, help='how many times each is timed; default 9')
    parser.add_argument('--device', choices=('cpu', 'cuda'), help='default cuda for --preset gpu, else cpu')
    parser.add_argument('--operators', action='store_true', help='tell the share of each of PyTorch\'s operators, too')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'), metavar='DIR', help='default %(default)s')
    single = parser.add_argument_group('without --preset: races in all combinations of')
    single.add_argument('--task', choices=benchmark.EFFORT, default='inference', help='default inference')
    single.add_argument('--networks', nargs='+', choices=benchmark.NETWORKS, default=benchmark.PLAIN, metavar='NAME',
                        help=f'backbones, of {", ".join(benchmark.NETWORKS)}; default {", ".join(benchmark.PLAIN)}')
    single.add_argument('--configs', nargs='+', metavar='FILE', help='of detectors, for --task detector')
    single.add_argument('--modes', nargs='+', choices=benchmark.MODES, default=('default',), help='default: default')
    single.add_argument('--shapes', nargs='+', type=shape, default=[(320, 320)], metavar='HxW', help='pixels; default 320x320')
    single.add_argument('--batches', nargs='+', type=int, default=(1,), metavar='N', help='images a pass; default 1')
    single.add_argument('--threads', nargs='+', type=int, default=(), metavar='N', help='default as many as torch takes')
    single.add_argument('--precisions', nargs='+', choices=benchmark.PRECISIONS, default=('float32',), help='default float32')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, run, tell."""
    options = parse(arguments)
    options.device = options.device or ('cuda' if options.preset == 'gpu' else 'cpu')
    for table in benchmark.run(benchmark.grids(options), options.rounds, options.device, options.operators):
        write_speed(table, options.out)  # after each race: what was measured is kept if a later one fails
    print(f'{table.to_text()}\n\ntables and charts: {options.out}/')


if __name__ == '__main__':
    sys.exit(command.run(main))
