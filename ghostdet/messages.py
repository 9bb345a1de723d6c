"""Messages to the person at the keyboard, which are no errors, and what messages are made of."""
import os
import sys
from collections.abc import Sequence

SHOWN = 6


def say(message: str) -> None:
    """Print to stderr, once in a run of many processes."""
    if os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0':
        print(message, file=sys.stderr, flush=True)


def some(names: Sequence[str]) -> str:
    """The first of many names, and how many there are beside.

    >>> some('abcdefgh')
    'a, b, c, d, e, f and 2 more'
    """
    return ', '.join(names[:SHOWN]) + (f' and {len(names) - SHOWN} more' if len(names) > SHOWN else '')
