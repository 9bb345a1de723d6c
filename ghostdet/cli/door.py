"""How a command begins and ends: its parser, and its exit code with or without a message. Imports no other package."""
import argparse
import errno
import sys
from collections.abc import Callable

from ghostdet.errors import DISK_FULL, UserError, reason
from ghostdet.messages import show_messages

CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
MISPLACED = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help begins with a command's docstring, as it is laid out there."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def run(main: Callable[[list[str] | None], None], arguments: list[str] | None = None) -> int:
    """Call a command's `main`. Returns 0 if it worked, 1 after a message about what the user can fix, 130 if interrupted."""
    show_messages()
    try:
        main(arguments)
    except UserError as error:
        message = str(error)
        if 'Traceback (most recent call last)' in message:  # it comes from a worker process, wrapped in that one's traceback
            message = message.rsplit(f'{type(error).__name__}: ', 1)[-1]
        print(f'\nerror: {message}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'\nerror: {_explained(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f'\n{str(error) or "interrupted; what was fetched is kept, and a training goes on with --resume"}', file=sys.stderr)
        return 130
    return 0


def _explained(error: OSError) -> str:
    """What an error of the system means for the user; one that the user cannot fix is raised again."""
    if error.errno in CLOSED:
        return f'{reason(error)}: this place cannot be written or read with your rights'
    if error.errno in MISPLACED:
        return f'{reason(error)}: something else has this name, or the system takes no such name. Name another place'
    if error.errno in DISK_FULL:
        return (f'the disk is full ({reason(error)}). Make room; files that were written are whole, and a training goes on with '
                '--resume')
    raise error
