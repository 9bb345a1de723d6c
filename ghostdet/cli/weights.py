"""List, download, check and convert published weights.

ghostdet weights check weights/some_file.pth --width 1.0
"""
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.weights import catalogue, reader
from ghostdet.weights.checkpoint_file import trusting
from ghostdet.weights.conversion import check, convert


def fetch(names: list[str]) -> None:
    """Download the named files; "all" means the whole list. Report at the end which ones failed."""
    names = [known for name in names
             for known in ([*catalogue.CATALOGUE, *catalogue.DETECTORS] if name == 'all' else [name])]
    failed = []
    for name in names:
        try:
            print(reader.locate(reader.SCHEME + name.removeprefix(reader.SCHEME)))
        except UserError as error:
            failed.append(str(error))
    if failed:
        raise UserError(f'{len(failed)} of {len(names)} files could not be downloaded:\n' + '\n'.join(failed))


def main(arguments: list[str] | None = None) -> None:
    """List, download, check or convert, and print the result."""
    parser = command_parser(__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('list', help='list names, sources, accuracy, licences and training data')
    commands.add_parser('fetch', help='download into torch\'s cache')
    commands.choices['fetch'].add_argument('names', nargs='+',
                                           help='names from the list, for example ghostnet_1.0x, or "all"')
    commands.add_parser('check', help='check whether a file has all tensors of a backbone')
    commands.add_parser('convert', help='write a copy with the authors\' tensor names')
    for name in ('check', 'convert'):
        command = commands.choices[name]
        command.add_argument('file',
                             help='path, URL or ghostdet://NAME; of a TensorFlow checkpoint the name its files share; '
                             'append ?ema for averaged weights, ?widen for wider ones')
        command.add_argument('--width', type=float, help='width of the backbone; default: the one that fits best')
        command.add_argument('--rounding', choices=('torch', 'tensorflow'),
                             help='rounding of the channel counts; default: the one that fits best')
        command.add_argument('--trust-checkpoint', action='store_true',
                             help='also open a file that holds more than data')
    commands.choices['convert'].add_argument('out', type=Path, help='file to write, .pth or .safetensors')
    options = parser.parse_args(arguments)
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
