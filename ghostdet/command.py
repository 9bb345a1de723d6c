"""How a tool's command ends: well, with a message, or interrupted. Needs the standard library alone."""
import errno
import sys
from collections.abc import Callable

from ghostdet.errors import UserError, reason


def run(main: Callable[[list[str] | None], None], arguments: list[str] | None = None) -> int:
    """Call a tool's `main`; 0 when it worked, 1 with a message on stderr when its user has something to mend."""
    try:
        main(arguments)
    except UserError as error:
        # From a worker process the message comes wrapped in that process's traceback.
        message = str(error).rsplit(f'{type(error).__name__}: ', 1)[-1]
        print(f'\nerror: {message}', file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            print(f'\nerror: {reason(error)}: this place cannot be written or read with your rights', file=sys.stderr)
            return 1
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f'\nerror: the disk is full ({reason(error)}). Make room; checkpoints that were written are whole, and a training '
              'goes on with --resume', file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f'\n{str(error) or "interrupted; what was fetched is kept, and a training goes on with --resume"}', file=sys.stderr)
        return 130
    return 0
