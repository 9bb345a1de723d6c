"""Published ImageNet weights: what there is, fetching, converting to the authors' names, and checking a file.

python tools/weights.py check weights/some_file.pth --width 1.0
"""
import argparse
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.weights import catalogue, source
from ghostdet.weights.checkpoint_file import trusting
from ghostdet.weights.conversion import check, convert


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('list', help='names, sources, accuracy and licences')
    commands.add_parser('fetch', help='download into torch\'s cache')
    commands.choices['fetch'].add_argument('names', nargs='+', help='names of the list, as ghostnet_1.0x, or "all"')
    commands.add_parser('check', help='whether a backbone would get all of its tensors')
    commands.add_parser('convert', help='write a file in the authors\' names')
    for name in ('check', 'convert'):
        command = commands.choices[name]
        command.add_argument('file', help='path, URL or ghostdet://NAME; ?ema after it for the average, ?widen for more width')
        command.add_argument('--width', type=float, help='of the backbone; default: the one that fits best')
        command.add_argument('--rounding', choices=('torch', 'tensorflow'), help='of its channels; default: likewise')
        command.add_argument('--trust-checkpoint', action='store_true', help='open a file that holds more than data')
    commands.choices['convert'].add_argument('out', type=Path, help='file to write, .pth or .safetensors')
    return parser.parse_args(arguments)


def fetch(names: list[str]) -> None:
    """Fetch each, for "all" those of the list, and tell at the end which could not be had."""
    names = [known for name in names for known in (catalogue.CATALOGUE if name == 'all' else [name])]
    failed = []
    for name in names:
        try:
            print(source.locate(source.SCHEME + name.removeprefix(source.SCHEME)))
        except UserError as error:
            failed.append(str(error))
    if failed:
        raise UserError(f'{len(failed)} of {len(names)} files could not be had:\n' + '\n'.join(failed))


def main(arguments: list[str] | None = None) -> None:
    """Parse, do, tell."""
    options = parse(arguments)
    if options.command == 'list':
        print(catalogue.to_text())
    elif options.command == 'fetch':
        fetch(options.names)
    else:
        with trusting(options.trust_checkpoint):
            if options.command == 'check':
                print(check(options.file, options.width, options.rounding))
            else:
                print(convert(options.file, options.out, options.width, options.rounding))
