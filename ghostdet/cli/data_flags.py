"""Flags that name a data set. Needs only the standard library."""
from collections.abc import Callable
from typing import Any

IGNORE_ORIENTATION = 'take pixels as they lie in the file, not turned as EXIF says'


def add_data_flags(add: Callable[..., Any]) -> None:
    """Add the flags that choose splits and files, by a parser's or a group's `add_argument`."""
    add('--train-split', metavar='NAME', help='split to train on; default: train, else trainval')
    add('--val-split', metavar='NAME', help='split to evaluate on; default: val or valid, else test')
    add('--val-fraction', type=float, default=0, metavar='SHARE',
        help='cut this share of the train split\'s images off as the val split, for example 0.2')
    for name in ('train', 'val'):
        add(f'--{name}-ann', metavar='FILE', help=f'annotation file of the {name} split, in COCO format')
        add(f'--{name}-img', metavar='DIR', help=f'image folder of the {name} split')
    add('--ignore-orientation', action='store_true', help=IGNORE_ORIENTATION)
    add('--skip-bad', action='store_true', help='leave out bad records instead of stopping')
