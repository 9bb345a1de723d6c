"""Count parameters and multiply-accumulates of detectors, by part, and of their backbones as ImageNet classifiers.

ghostdet complexity retinanet_ghostnet_1.1x_coco
"""
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole
from ghostdet.training.counting import ComplexityTable, measure

FORMATS = {'.json': 'to_json', '.csv': 'to_csv', '.md': 'to_markdown'}


def main(arguments: list[str] | None = None) -> None:
    """Count, print the table and write it."""
    parser = command_parser(__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG',
                        help='configs of detectors: files, or names from "ghostdet configs"')
    parser.add_argument('--shape', nargs=2, type=int, default=(800, 1333), metavar=('HEIGHT', 'WIDTH'),
                        help='image size in pixels, before padding; default 800 1333')
    parser.add_argument('--out', type=Path, metavar='FILE',
                        help='also write the table: .json or .csv (plain numbers), or .md')
    options = parser.parse_args(arguments)
    if options.out and options.out.suffix not in FORMATS:
        raise UserError(f'--out {options.out}: expected a file name that ends in one of {", ".join(FORMATS)}')
    table = ComplexityTable(tuple(measure(cfg, options.shape) for cfg in options.configs))
    print(table.to_text())
    if options.out:
        make_folder(options.out.parent, '--out')
        try:
            write_whole(options.out, getattr(table, FORMATS[options.out.suffix])().encode())
        except IsADirectoryError as error:
            raise UserError(f'--out {options.out} is a folder: give a file name') from error
