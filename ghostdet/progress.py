"""The progress bar of all commands: in a terminal or a notebook, not in log files."""
import sys
from typing import Any

from tqdm.auto import tqdm


def progress(*items: Any, shown: bool = True, **options: Any) -> Any:
    """Return a tqdm progress bar that shows only in a terminal or a notebook.

    Args:
        items: what to iterate over, if anything.
        shown: False: no bar, for example in all processes of a distributed run except the first.
        options: options of tqdm.
    """
    shell = getattr(sys.modules.get('IPython'), 'get_ipython', lambda: None)()
    # An imported ipykernel is not enough: programs that run notebooks import it, too.
    in_notebook = hasattr(shell, 'kernel')
    disable = True if not shown else False if in_notebook else None  # None: off if the output is not a terminal
    return tqdm(*items, **{'leave': False, 'disable': disable, **options})
