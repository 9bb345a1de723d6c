"""Flags that name a data set. Needs only the standard library."""
import argparse


def add_data_flags(parser: argparse._ActionsContainer) -> None:
    """Add the flags that choose splits and files."""
    parser.add_argument('--train-split', metavar='NAME', help='split to train on; default: train, else trainval')
    parser.add_argument('--val-split', metavar='NAME', help='split to evaluate on; default: val or valid, else test')
    for name in ('train', 'val'):
        parser.add_argument(f'--{name}-ann', metavar='FILE', help=f'annotation file of the {name} split, in COCO format')
        parser.add_argument(f'--{name}-img', metavar='DIR', help=f'image folder of the {name} split')
    parser.add_argument('--skip-bad', action='store_true', help='leave out bad records instead of stopping')
