"""Parameters and multiply-accumulates of detectors, by part, and of their backbones as ImageNet classifiers.

python tools/complexity.py configs/retinanet_ghostnet_1.1x_coco.py
"""
import argparse
import sys
from pathlib import Path

from ghostdet import command
from ghostdet.analysis.complexity import ComplexityTable
from ghostdet.engine.complexity import measure
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole

FORMATS = {'.json': ComplexityTable.to_json, '.csv': ComplexityTable.to_csv, '.md': ComplexityTable.to_markdown}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config files of detectors')
    parser.add_argument('--shape', nargs=2, type=int, default=(800, 1333), metavar=('HEIGHT', 'WIDTH'),
                        help='of the image in pixels, before it is padded as the config says; default 800 1333')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the table too: .json, .csv (both unscaled) or .md')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, count, tell."""
    options = parse(arguments)
    if options.out and options.out.suffix not in FORMATS:
        raise UserError(f'--out {options.out}: files are written in the formats {", ".join(FORMATS)}, so let the name end in one')
    table = ComplexityTable(tuple(measure(config, options.shape) for config in options.configs))
    print(table.to_text())
    if options.out:
        make_folder(options.out.parent, '--out')
        try:
            write_whole(options.out, FORMATS[options.out.suffix](table).encode())
        except IsADirectoryError as error:
            raise UserError(f'--out {options.out} is a folder: name a file') from error


if __name__ == '__main__':
    sys.exit(command.run(main))
