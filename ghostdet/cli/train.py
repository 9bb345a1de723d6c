"""Train and evaluate a detector. Write checkpoints, tables, curves and pictures to the work directory.

ghostdet train retinanet_ghostnet_1.1x_mini
"""
from ghostdet.cli.arguments import run_parser
from ghostdet.training import launch
from ghostdet.training.options import TrainOptions


def parse(arguments: list[str] | None) -> TrainOptions:
    """Parse the command line."""
    parser = run_parser(__doc__)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='auto|FILE',
                        help='continue from the last checkpoint in the work directory, or from FILE')
    start = parser.add_mutually_exclusive_group()
    start.add_argument('--load-from', metavar='FILE',
                       help='start from a detector\'s weights; reports tensors that do not fit')
    start.add_argument('--from-scratch', action='store_true', help='start from random weights')
    parser.add_argument('--keep-empty', action='store_true', help='also train on images without a box')
    parser.add_argument('--amp', action='store_true', help='use automatic mixed precision (needs a GPU)')
    return TrainOptions(**vars(parser.parse_args(arguments)))


def main(arguments: list[str] | None = None) -> None:
    """Train, print the table and, with --check-expected, check the AP."""
    report = launch.train(parse(arguments))
    if report is not None:
        print(report.to_text())
        report.check()
