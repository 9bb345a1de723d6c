"""A page on this machine where one drops an image and sees boxes, scores and the time they took.

python tools/demo.py detector.xml
"""
import argparse
import os
import sys
from importlib.util import find_spec

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.messages import LOGGER
from ghostdet.predict.detector import Detector
from ghostdet.predict.server import PageOptions, check_port, is_loopback, server_command
from ghostdet.runtime.sessions import HINTS


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument('model', help='checkpoint, or .onnx or .xml of tools/export.py')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen on; default %(default)s, this machine alone')
    parser.add_argument('--port', type=int, default=8501, help='default %(default)s')
    parser.add_argument('--max-mb', type=int, default=20, metavar='MB', help='the largest file it takes; default %(default)s')
    parser.add_argument('--precision', choices=HINTS, default='fp32', help='what an .xml is computed in; default %(default)s')
    parser.add_argument('--config', metavar='FILE', help='config of a checkpoint that does not hold it')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, check, serve until interrupted."""
    options = parse(arguments)
    if find_spec('streamlit') is None:
        raise UserError('the page needs streamlit: pip install ".[demo]" in its folder, the extra [demo] of ghostdet')
    if options.max_mb < 1:
        raise UserError('--max-mb has to be at least 1')
    Detector(options.model, options.precision, config=options.config)  # what is wrong with it is told here, not on the page
    if not is_loopback(options.host):
        LOGGER.warning(f'ATTENTION: whoever reaches {options.host} can use this page, which asks for no password')
    check_port(options.host, options.port)
    page = PageOptions(model=options.model, precision=options.precision, config=options.config, max_mb=options.max_mb)
    os.execv(sys.executable, server_command(page, options.host, options.port))  # so that what ends this process ends the page
