"""List the configs that ghostdet contains, or copy one to the current folder to edit it.

ghostdet configs
ghostdet configs retinanet_ghostnet_1.1x_coco --copy
"""
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.packaged_configs import copy_config, find_config, packaged_configs, purpose


def main(arguments: list[str] | None = None) -> None:
    """List, show or copy."""
    parser = command_parser(__doc__)
    parser.add_argument('name', nargs='?', help='name of a config: show its file')
    parser.add_argument('--copy', action='store_true',
                        help='copy it, and the files that it inherits from, to the current folder')
    options = parser.parse_args(arguments)
    if options.copy and not options.name:
        raise UserError('--copy needs the name of a config; ghostdet configs lists the names')
    if options.copy:
        copies = copy_config(options.name, Path())
        print('\n'.join(map(str, copies)) + f'\n\nEdit them, then run: ghostdet train {copies[0]}')
    elif options.name:
        print(find_config(options.name))
    else:
        configs = packaged_configs()
        width = max(map(len, configs), default=0)
        print('\n'.join(f'{name:{width}}  {purpose(file)}' for name, file in configs.items()))
