"""Serve a demo page: drop an image, see its boxes, scores and the time they took.

ghostdet demo detector.xml
"""
import os
import sys
from importlib.util import find_spec

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.infer.detector import Detector
from ghostdet.infer.server import PageOptions, check_port, is_loopback, server_command
from ghostdet.infer.sessions import HINTS
from ghostdet.messages import LOGGER
from ghostdet.options import IGNORE_ORIENTATION, NO_SELF_CHECK


def main(arguments: list[str] | None = None) -> None:
    """Check the options, then serve the page until interrupted."""
    parser = command_parser(__doc__)
    parser.add_argument('model', help='checkpoint, or .onnx or .xml file of "ghostdet export"')
    parser.add_argument('--host', default='127.0.0.1',
                        help='address to listen on; default %(default)s: only this machine')
    parser.add_argument('--port', type=int, default=8501, help='port to listen on; default %(default)s')
    parser.add_argument('--max-mb', type=int, default=20, metavar='MB',
                        help='largest upload in MB; default %(default)s')
    parser.add_argument('--precision', choices=HINTS, default='fp32',
                        help='arithmetic for an .xml file; default %(default)s')
    parser.add_argument('--config', metavar='CONFIG', help='config, if the checkpoint does not contain it')
    parser.add_argument('--ignore-orientation', action='store_true', help=IGNORE_ORIENTATION)
    parser.add_argument('--no-self-check', action='store_true', help=NO_SELF_CHECK)
    options = parser.parse_args(arguments)
    if find_spec('streamlit') is None:
        raise UserError('the page needs streamlit: run pip install "ghostdet[demo]"')
    if options.max_mb < 1:
        raise UserError('--max-mb must be at least 1')
    # reports a bad model here, not on the page
    Detector(options.model, options.precision, config=options.config, self_check=not options.no_self_check)
    if not is_loopback(options.host):
        LOGGER.warning(f'ATTENTION: anyone who can reach {options.host} can use this page; it has no password')
    check_port(options.host, options.port)
    page = PageOptions(model=options.model, precision=options.precision, config=options.config, max_mb=options.max_mb,
                       ignore_orientation=options.ignore_orientation, self_check=not options.no_self_check)
    # exec: ending this process ends the page
    os.execv(sys.executable, server_command(page, options.host, options.port))
