"""Run a script of MMDetection or of your own, with the names and operators of ghostdet.

ghostdet run mmdetection/ghostdet test CONFIG CHECKPOINT

Without ghostdet, some of MMDetection's scripts fail at their imports if mmcv has no compiled operators.
"""
import argparse
import runpy
import sys
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('file', type=Path, metavar='FILE', help='Python script')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, metavar='ARGS', help='arguments of the script')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the script as `python FILE ARGS` does."""
    options = parse(arguments)
    if not options.file.is_file():
        raise UserError(f'there is no script {options.file.absolute()}')
    sys.argv = [str(options.file), *options.arguments]
    sys.path[0] = str(options.file.absolute().parent)
    runpy.run_path(str(options.file), run_name='__main__')
