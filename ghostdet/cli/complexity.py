"""Parameters and multiply-accumulates of detectors, by part, and of their backbones as ImageNet classifiers.

python tools/complexity.py configs/retinanet_ghostnet_1.1x_coco.py
python tools/complexity.py --paper    # Ghost modules in other networks: the paper's tables, recounted
"""
import argparse
from pathlib import Path

from ghostdet.analysis.counting import ComplexityTable, measure
from ghostdet.analysis.paper_tables import paper_tables
from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole

FORMATS = {'.json': 'to_json', '.csv': 'to_csv', '.md': 'to_markdown'}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument('configs', nargs='*', metavar='CONFIG', help='config files of detectors')
    parser.add_argument('--paper', action='store_true', help='count the networks of the paper\'s other tables instead')
    parser.add_argument('--shape', nargs=2, type=int, default=(800, 1333), metavar=('HEIGHT', 'WIDTH'),
                        help='of the image in pixels, before it is padded as the config says; default 800 1333')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the table too: .json, .csv (both unscaled) or .md')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, count, tell."""
    options = parse(arguments)
    if options.out and options.out.suffix not in FORMATS:
        raise UserError(f'--out {options.out}: files are written in the formats {", ".join(FORMATS)}, so let the name end in one')
    if bool(options.configs) == options.paper:
        raise UserError('name configs, or --paper, and not both')
    table = paper_tables() if options.paper else ComplexityTable(tuple(measure(cfg, options.shape) for cfg in options.configs))
    print(table.to_text())
    if options.out:
        make_folder(options.out.parent, '--out')
        try:
            write_whole(options.out, getattr(table, FORMATS[options.out.suffix])().encode())
        except IsADirectoryError as error:
            raise UserError(f'--out {options.out} is a folder: name a file') from error
