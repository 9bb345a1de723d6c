"""How much time --fast-eval saves: pycocotools and faster-coco-eval side by side on made-up detections of 80 classes.

python tools/benchmark_eval.py
"""
import argparse
import sys
import tempfile
from pathlib import Path

from ghostdet import command
from ghostdet.analysis.eval_speed import compare
from ghostdet.errors import UserError
from ghostdet.evaluation.fast_coco import check_installed


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=5000, help='default 5000')
    parser.add_argument('--detections', type=int, default=100, help='of each image; default 100')
    parser.add_argument('--kinds', type=int, default=12, help='the most classes that an image\'s detections are of; default 12')
    parser.add_argument('--pairs', type=int, default=3, help='how many times each is timed, in turn; default 3')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, compare, tell."""
    options = parse(arguments)
    if min(vars(options).values()) < 1:
        raise UserError('--images, --detections, --kinds and --pairs have to be at least 1')
    check_installed()
    with tempfile.TemporaryDirectory() as folder:
        print(compare(**vars(options), folder=Path(folder)).to_text())


if __name__ == '__main__':
    sys.exit(command.run(main))
