"""Failures that the user can fix."""
import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class UserError(Exception):
    """Something outside the code is wrong; the message says what, where, and what to do. Tools print it without traceback."""


class DataError(UserError):
    """The data set on disk is wrong."""


class ImageError(UserError):
    """An image cannot be read."""


class Interrupted(KeyboardInterrupt):
    """Somebody asked the run to stop, and it did so in order; the message says how it goes on."""


def reason(error: BaseException) -> str:
    """Kind and first line of an error that another program raised, for a message."""
    return f'{type(error).__name__}: {(str(error).splitlines() or ["no details"])[0]}'
