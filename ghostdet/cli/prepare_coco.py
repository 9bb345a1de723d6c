"""Prepare COCO 2017 in a folder: download, check, unpack and count. Parts that are complete are not touched.

ghostdet prepare-coco data/coco
"""
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.data.prepare import URL, CocoFolder


def main(arguments: list[str] | None = None) -> None:
    """Prepare the folder and print its table."""
    parser = command_parser(__doc__)
    parser.add_argument('folder', type=Path, metavar='DIR', help='folder for annotations/, train2017/ and val2017/')
    parser.add_argument('--keep-zips', action='store_true', help='keep the archives after they are unpacked')
    parser.add_argument('--url', default=URL, metavar='BASE',
                        help='URL of a mirror with the same paths; default: %(default)s')
    options = parser.parse_args(arguments)
    folder = CocoFolder(options.folder)
    try:
        folder.complete(options.url, options.keep_zips)
    finally:
        print(folder.table())
