"""Messages for the user: the logger `ghostdet`, its output on stderr, and shortened lists."""
import logging
import reprlib
import sys
import warnings
from collections.abc import Sequence
from typing import Any

LOGGER = logging.getLogger('ghostdet')
SHOWN = 6
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxdict, _BRIEF.maxstring, _BRIEF.maxother = 3, 12, 100, 100


class Console(logging.Handler):
    """Writes plain messages to the current `sys.stderr`, also if it was replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        print(record.getMessage(), file=sys.stderr, flush=True)


def show_messages() -> None:
    """Show messages on stderr, as the commands do. `logging.basicConfig(level='INFO')` shows them in Python, too."""
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    LOGGER.handlers = [Console()]
    # torch warns of how mmdet calls meshgrid for its points
    warnings.filterwarnings('ignore', r'torch\.meshgrid: in an upcoming release')


def shorten(names: Sequence[str]) -> str:
    """Return the first names of a list as text, and how many more there are.

    >>> shorten('abcdefgh')
    'a, b, c, d, e, f and 2 more'
    """
    return ', '.join(names[:SHOWN]) + (f' and {len(names) - SHOWN} more' if len(names) > SHOWN else '')


def brief(value: Any) -> str:
    """Return the `repr` of a value of any size and depth, cut short.

    >>> brief([[[[[1]]]], 10 ** 400 > 1, 'text'])
    "[[[[...]]], True, 'text']"
    """
    return _BRIEF.repr(value)
