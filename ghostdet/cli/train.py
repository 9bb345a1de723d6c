"""Train a detector, evaluate it, and leave checkpoints, tables, curves and pictures in the work directory.

python tools/train.py configs/retinanet_ghostnet_1.1x_mini.py
"""
from ghostdet.cli.arguments import run_parser
from ghostdet.engine import launch
from ghostdet.engine.options import TrainOptions


def parse(arguments: list[str] | None) -> TrainOptions:
    """The command line."""
    parser = run_parser(__doc__)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='auto|FILE',
                        help='continue from the last checkpoint in the work directory, or from FILE')
    start = parser.add_mutually_exclusive_group()
    start.add_argument('--load-from', metavar='FILE', help='start from a detector; what does not fit is left out and named')
    start.add_argument('--from-scratch', action='store_true', help='train without initial weights')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision, on a GPU')
    return TrainOptions(**vars(parser.parse_args(arguments)))


def main(arguments: list[str] | None = None) -> None:
    """Train, print the table, check the AP if asked to."""
    report = launch.train(parse(arguments))
    if report is not None:
        print(report.to_text())
        report.check()
