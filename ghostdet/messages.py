"""Messages for the user: the logger `ghostdet`, its output on stderr, and shortened lists."""
import logging
import reprlib
import sys
import warnings
from collections.abc import Sequence
from logging.handlers import MemoryHandler
from typing import Any

LOGGER = logging.getLogger('ghostdet')
SHOWN = 6
# Warnings of other packages that nobody who reads them can act on.
QUIET = (r'In MMCV v1', r'torch\.meshgrid: in an upcoming release', r'This DataLoader will create',
         r'faster_coco_eval is not installed', r'`broadcast_buffers` is deprecated', r'Multi-processing start method',
         r'Setting \w+ environment variable', r'Glyph \d+ .* missing from')  # ghostdet.images.fonts says it once
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxdict, _BRIEF.maxstring, _BRIEF.maxother = 3, 12, 100, 100


class Console(logging.Handler):
    """Writes plain messages to the current `sys.stderr`, also if it was replaced, above progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        bars = sys.modules.get('tqdm')  # if nothing has imported it, there is no bar
        if bars:
            bars.tqdm.write(record.getMessage(), file=sys.stderr)
            sys.stderr.flush()
        else:
            print(record.getMessage(), file=sys.stderr, flush=True)


def in_command() -> bool:
    """Return whether a command runs, and no program that imports ghostdet: `show_messages` was called."""
    return any(isinstance(handler, Console) for handler in LOGGER.handlers)


def show_messages() -> None:
    """Show messages on stderr, as the commands do. In Python, `logging.basicConfig(level='INFO')` shows them too."""
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    LOGGER.handlers = [Console()]
    for text in QUIET:
        warnings.filterwarnings('ignore', text)


def keep_messages() -> None:
    """Keep the messages from now on for the log file of a run, which is not open yet."""
    LOGGER.handlers = [handler for handler in LOGGER.handlers if not isinstance(handler, MemoryHandler)]
    LOGGER.addHandler(MemoryHandler(10_000, logging.CRITICAL + 1))


def log_to(file: logging.Handler) -> None:
    """Also log to a file; the messages that were kept come first."""
    for kept in [handler for handler in LOGGER.handlers if isinstance(handler, MemoryHandler)]:
        LOGGER.removeHandler(kept)
        kept.setTarget(file)
        kept.close()
    LOGGER.addHandler(file)


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
