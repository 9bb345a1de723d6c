"""Check whether this machine computes an exported file right.

ghostdet check detector.xml
"""
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.infer.opening import arithmetic, changed, cure
from ghostdet.infer.seal import is_whole
from ghostdet.infer.self_check import CannotRunError, run_check
from ghostdet.infer.sessions import HINTS, check_parts, is_exported, open_session, parts, runtime_version


def main(arguments: list[str] | None = None) -> None:
    """Run the self-check, also if it was run before, and print its figures."""
    parser = command_parser(__doc__)
    parser.add_argument('file', type=Path, help='file of "ghostdet export" (.onnx, .xml, .ncnn.param)')
    parser.add_argument('--precision', choices=HINTS, default='fp32',
                        help='arithmetic for an .xml file; default %(default)s')
    parser.add_argument('--threads', type=int, metavar='N', help='CPU cores; default: all that this process may use')
    parser.add_argument('--floats', action='store_true', help='compute an int8 file in floating point')
    options = parser.parse_args(arguments)
    if not is_exported(options.file):
        raise UserError(f'{options.file} is not an exported file (.onnx, .xml, .ncnn.param)')
    check_parts(options.file)
    if is_whole(parts(options.file)) is False:
        raise changed(options.file)
    session = open_session(options.file, options.precision, options.threads, not options.floats)
    if session.manifest.reference and is_whole(parts(options.file)) is None:
        raise changed(options.file)
    is_int8 = session.manifest.precision == 'int8' and options.precision == 'fp32'
    if options.floats and not is_int8:
        raise UserError(f'{options.file} is not in int8: leave out --floats')
    try:
        check = run_check(session, arithmetic(session, options.precision))
    except CannotRunError as error:
        raise UserError(f'{options.file} cannot be checked: {error}') from error
    print(f'{options.file}, {arithmetic(session, options.precision)}{" in floating point" * options.floats}, by '
          f'{runtime_version(options.file)}')
    print(check.to_table())
    if check.error:
        print(f'quantized, it differs from the checkpoint by {check.error:.2g}')
    if not check.passes:
        floats = '; if it is right in floating point (--floats), it is run so' if is_int8 and not options.floats else ''
        raise UserError(f'{options.file} is computed wrong here: {check.to_text()}. {cure(session)}{floats}')
    print(f'right: {check.to_text()}')
