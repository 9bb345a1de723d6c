"""The one progress bar: in a terminal, in a notebook, and none where nobody sees it."""
import sys
from typing import Any

from tqdm.auto import tqdm


def progress(*items: Any, shown: bool = True, **options: Any) -> Any:
    """A bar of tqdm, with its options. It shows in a terminal and in a notebook, not in a log file.

    Args:
        items: what to iterate over, if anything.
        shown: False: no bar, as in all processes of a distributed run but the first.
    """
    in_notebook = 'ipykernel' in sys.modules
    disable = True if not shown else False if in_notebook else None  # None: off where the output is no terminal
    return tqdm(*items, **{'leave': False, 'disable': disable, **options})
