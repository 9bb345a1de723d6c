"""The progress of all commands: a bar in a terminal or a notebook, a line every ten seconds elsewhere."""
import os
import sys
from typing import Any

from tqdm import tqdm
from tqdm.auto import tqdm as bar_for_here

EVERY = 10  # seconds between two lines


class Lines(tqdm):
    """A progress bar as lines, for log files and pipes. Work of less than ten seconds prints none."""

    def __init__(self, *items: Any, **options: Any) -> None:
        line = '{desc}: {n_fmt} of {total_fmt}, {remaining} left{postfix}'
        super().__init__(*items, **{'bar_format': line, **options, 'mininterval': EVERY, 'delay': EVERY, 'leave': True})

    @staticmethod
    def status_printer(file: Any) -> Any:
        """Return a function that prints a line."""
        def print_line(text: str) -> None:
            if text.strip():
                file.write(f'{text.strip()}\n')
                file.flush()
        return print_line

    def refresh(self, nolock: bool = False, lock_args: Any = None) -> bool:
        """Print a line; nothing after a message (`nolock`), which does not hide a line as it hides a bar."""
        return False if nolock else bool(super().refresh(nolock, lock_args))

    def clear(self, *_: Any, **__: Any) -> None:
        """Do nothing: a line stays."""

    def moveto(self, n: int) -> None:
        """Do nothing: lines follow each other."""

    def close(self) -> None:
        """Print nothing more."""
        self.disable = True
        super().close()


def progress(*items: Any, shown: bool = True, **options: Any) -> Any:
    """Return a tqdm progress bar: a bar in a terminal or a notebook, else lines.

    Args:
        items: what to iterate over, if anything.
        shown: False: no bar, for example in all processes of a distributed run except the first.
        options: options of tqdm.
    """
    shell = getattr(sys.modules.get('IPython'), 'get_ipython', lambda: None)()
    # An imported ipykernel is not enough: programs that run notebooks import it, too.
    in_notebook = hasattr(shell, 'kernel')
    kind = bar_for_here if in_notebook or _in_terminal() else Lines
    return kind(*items, **{'leave': False, 'disable': not shown, **options})


def _in_terminal() -> bool:
    """Return whether the output is a terminal with room for a bar."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).lines > 0
    except (OSError, ValueError):
        return sys.stderr.isatty()


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
