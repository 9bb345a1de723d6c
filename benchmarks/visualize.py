"""Draw a layer's feature maps, mark the most similar pairs, and measure how well primary maps predict cheap ones.

python -m benchmarks.visualize CONFIG [CHECKPOINT] IMAGE --layer backbone.blocks.1.0.ghost1 --out maps
"""
import argparse
import sys
from pathlib import Path

from benchmarks.redundancy import look
from benchmarks.redundancy_plots import MAX_PAIRS, draw_maps, draw_modules
from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole
from ghostdet.weights.schemes import safe_loading


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('config', help='config of a detector: a file, or a name from "ghostdet configs"')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; default: random weights')
    parser.add_argument('image', type=Path)
    parser.add_argument('--layer', required=True, metavar='NAME', help='name of the layer, as in model.named_modules()')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='folder for the figures and redundancy.json')
    parser.add_argument('--pairs', type=int, default=6, help='how many similar pairs to mark; default %(default)s')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='also open a checkpoint file that holds more than data')
    return parser.parse_intermixed_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Compare the maps, draw them and print the result."""
    options = parse(arguments)
    if not 0 <= options.pairs <= MAX_PAIRS:
        raise UserError(f'--pairs {options.pairs}: expected a number from 0 to {MAX_PAIRS}')
    with safe_loading(options.trust_checkpoint):
        redundancy = look(options.config, options.checkpoint, options.image, options.layer, options.pairs)
    make_folder(options.out, '--out')
    draw_maps(redundancy, options.out / 'feature_maps.png')
    if redundancy.modules:
        draw_modules(redundancy, options.out / 'ghost_modules.png')
    write_whole(options.out / 'redundancy.json', redundancy.to_json().encode())
    print(f'{redundancy.to_text()}\nresults: {options.out}/')


if __name__ == '__main__':
    sys.exit(door.run(main))
