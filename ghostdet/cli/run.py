"""Run a script of MMDetection or of your own, with the names and operators of ghostdet.

ghostdet run mmdetection/tools/test.py CONFIG CHECKPOINT

Without ghostdet, some of MMDetection's scripts fail at their imports if mmcv has no compiled operators. If pip
installed mmdet, its scripts are in the folder mmdet/.mim/tools of site-packages. Processes that a script spawns, not
forks, do not import ghostdet by themselves: put "import ghostdet" at the top of such a script.
"""
import argparse
import runpy
import sys
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError


def main(arguments: list[str] | None = None) -> None:
    """Run the script as `python FILE ARGS` does, with its own errors."""
    parser = command_parser(__doc__)
    parser.add_argument('file', type=Path, metavar='FILE', help='Python script')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, metavar='ARGS', help='arguments of the script')
    options = parser.parse_args(arguments)
    if not options.file.is_file():
        raise UserError(f'there is no script {options.file.absolute()}')
    sys.argv = [str(options.file), *options.arguments]
    sys.path[0] = str(options.file.absolute().parent)
    try:
        runpy.run_path(str(options.file), run_name='__main__')
    except OSError as error:  # it is not about our files, so it gets no message of ours
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
