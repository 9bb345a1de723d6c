"""How a tool's command ends: well, with a message, or interrupted. Needs the standard library alone."""
import errno
import sys
from collections.abc import Callable

from ghostdet.errors import UserError, reason

FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
MISPLACED = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)


def run(main: Callable[[list[str] | None], None], arguments: list[str] | None = None) -> int:
    """Call a tool's `main`; 0 when it worked, 1 with a message on stderr when its user has something to mend."""
    try:
        main(arguments)
    except UserError as error:
        message = str(error)
        if 'Traceback (most recent call last)' in message:  # it comes from a worker process, wrapped in that one's traceback
            message = message.rsplit(f'{type(error).__name__}: ', 1)[-1]
        print(f'\nerror: {message}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'\nerror: {_told(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f'\n{str(error) or "interrupted; what was fetched is kept, and a training goes on with --resume"}', file=sys.stderr)
        return 130
    return 0


def _told(error: OSError) -> str:
    """What it means for the person at the keyboard; an error that is not theirs goes on its way."""
    if error.errno in CLOSED:
        return f'{reason(error)}: this place cannot be written or read with your rights'
    if error.errno in MISPLACED:
        return f'{reason(error)}: something else has this name, or the system takes no such name. Name another place'
    if error.errno in FULL:
        return (f'the disk is full ({reason(error)}). Make room; files that were written are whole, and a training goes on with '
                '--resume')
    raise error
