"""Count parameters and multiply-accumulates of detectors, by part, and of their backbones as ImageNet classifiers.

ghostdet complexity retinanet_ghostnet_1.1x_coco
ghostdet complexity --paper    # recount the paper's tables of Ghost modules in other networks
"""
import argparse
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole
from ghostdet.training.counting import ComplexityTable, measure
from ghostdet.training.paper_tables import paper_tables

FORMATS = {'.json': 'to_json', '.csv': 'to_csv', '.md': 'to_markdown'}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('configs', nargs='*', metavar='CONFIG',
                        help='configs of detectors: files, or names from "ghostdet configs"')
    parser.add_argument('--paper', action='store_true', help='count the networks in the paper\'s other tables instead')
    parser.add_argument('--shape', nargs=2, type=int, default=(800, 1333), metavar=('HEIGHT', 'WIDTH'),
                        help='image size in pixels, before padding; default 800 1333')
    parser.add_argument('--out', type=Path, metavar='FILE',
                        help='also write the table: .json or .csv (plain numbers), or .md')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Count, print the table and write it."""
    options = parse(arguments)
    if options.out and options.out.suffix not in FORMATS:
        raise UserError(f'--out {options.out}: expected a file name that ends in one of {", ".join(FORMATS)}')
    if bool(options.configs) == options.paper:
        raise UserError('expected either config files or --paper')
    table = (paper_tables() if options.paper
             else ComplexityTable(tuple(measure(cfg, options.shape) for cfg in options.configs)))
    print(table.to_text())
    if options.out:
        make_folder(options.out.parent, '--out')
        try:
            write_whole(options.out, getattr(table, FORMATS[options.out.suffix])().encode())
        except IsADirectoryError as error:
            raise UserError(f'--out {options.out} is a folder: give a file name') from error
