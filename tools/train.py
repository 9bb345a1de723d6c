"""Train a detector, evaluate it, and leave checkpoints, tables, curves and pictures in the work directory.

python tools/train.py configs/retinanet_ghostnet_1.1x_mini.py
"""
import argparse
import sys

from ghostdet import command
from ghostdet.engine import console, launch


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = console.parser(__doc__)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='auto|FILE',
                        help='go on from the last checkpoint in the work directory, or from FILE')
    start = parser.add_mutually_exclusive_group()
    start.add_argument('--load-from', metavar='FILE', help='start from a detector; what does not fit is left out and named')
    start.add_argument('--from-scratch', action='store_true', help='train without initial weights')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision, on a GPU')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, train, print the table."""
    report = launch.train(parse(arguments))
    if report is not None:
        print(report.to_text())


if __name__ == '__main__':
    sys.exit(command.run(main))
