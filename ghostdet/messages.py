"""Messages to people: the logger `ghostdet`, what the commands show of it, and long lists cut short."""
import logging
import sys
from collections.abc import Sequence

LOGGER = logging.getLogger('ghostdet')
SHOWN = 6


class Console(logging.Handler):
    """Writes plain messages to whatever stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        print(record.getMessage(), file=sys.stderr, flush=True)


def show_messages() -> None:
    """Show messages on stderr, as the commands do. In Python code, `logging.basicConfig(level='INFO')` shows them too."""
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    LOGGER.handlers = [Console()]


def shorten(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are.

    >>> shorten('abcdefgh')
    'a, b, c, d, e, f and 2 more'
    """
    return ', '.join(names[:SHOWN]) + (f' and {len(names) - SHOWN} more' if len(names) > SHOWN else '')
