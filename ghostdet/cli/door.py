"""Start and end a command: its parser, its error messages and its exit code. Needs only the standard library."""
import argparse
import errno
import os
import select
import sys
from collections.abc import Callable

from ghostdet.errors import DISK_FULL, PackageError, UserError, reason
from ghostdet.messages import show_messages

CLOSED_PIPE = 141  # exit code of a shell for a program whose output nobody reads any more
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
MISPLACED = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help begins with the command's docstring, line by line."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def run(main: Callable[[list[str] | None], None], arguments: list[str] | None = None) -> int:
    """Call a command's `main`, and explain errors that the user can fix.

    Returns:
        0 if it worked, 1 after an error, 130 if interrupted, 141 if the reader of the output has read enough.
    """
    show_messages()
    if getattr(sys.stdout, 'errors', '') == 'strict' and hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='backslashreplace')  # names that the terminal cannot show are no error
    try:
        main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _output_is_closed():
            raise
        return CLOSED_PIPE
    except (UserError, PackageError) as error:
        message = str(error)
        if 'Traceback (most recent call last)' in message:  # from a worker process, wrapped in its traceback
            message = message.rsplit(f'{type(error).__name__}: ', 1)[-1]
        print(f'\nerror: {message}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'\nerror: {_explained(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f'\n{str(error) or "interrupted; downloaded files are kept, and --resume continues a training run"}',
              file=sys.stderr)
        return 130
    return 0


def _output_is_closed() -> bool:
    """Return whether the reader of the output, such as `head`, has read enough. If so, nothing more is written."""
    output = sys.stdout.fileno()
    if hasattr(select, 'poll'):  # not on Windows, where a closed pipe is another error
        pipe = select.poll()
        pipe.register(output, 0)
        if pipe.poll(0):  # the only event that is reported unasked: nobody reads any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)
            return True
    return False


def _explained(error: OSError) -> str:
    """Return a message for an error of the operating system. An error that the user cannot fix is raised again."""
    if error.errno in CLOSED:
        return (f'{reason(error)}: no permission to read or write this path. '
                'Change the permissions or choose another path')
    if error.errno in MISPLACED:
        return f'{reason(error)}: another file or folder is in the way, or the name is not allowed. Choose another path'
    if error.errno in DISK_FULL:
        return (f'the disk is full ({reason(error)}). Free some space. Files written so far are complete, and --resume '
                'continues a training run')
    raise error
