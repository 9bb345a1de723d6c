"""COCO 2017 made ready in a folder: fetched, checked, unpacked and counted; what is there already is left alone.

python tools/prepare_coco.py data/coco
"""
import argparse
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.data.prepare import URL, CocoFolder


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument('folder', type=Path, metavar='DIR', help='folder that gets annotations/, train2017/ and val2017/')
    parser.add_argument('--keep-zips', action='store_true', help='do not delete the archives that were unpacked')
    parser.add_argument('--url', default=URL, metavar='BASE', help='a mirror with the same paths; default: %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, do, tell."""
    options = parse(arguments)
    folder = CocoFolder(options.folder)
    try:
        folder.complete(options.url, options.keep_zips)
    finally:
        print(folder.table())
