"""Messages to the person at the keyboard, which are no errors."""
import os
import sys


def say(message: str) -> None:
    """Print to stderr, once in a run of many processes."""
    if os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0':
        print(message, file=sys.stderr, flush=True)
