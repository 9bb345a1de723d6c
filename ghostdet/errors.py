"""Errors that the user can fix."""
import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class UserError(Exception):
    """Something outside the code is wrong. The message says what, where, and what to do.

    Commands print it without a traceback.
    """


class DataError(UserError):
    """The data set on disk is wrong."""


class ImageError(UserError):
    """An image cannot be read."""


class PackageError(ImportError):
    """A package is missing or does not load. The message says what to install."""


class Interrupted(KeyboardInterrupt):
    """The user stopped the run, and it ended cleanly; the message says how to continue."""


def reason(error: BaseException) -> str:
    """Return type and first line of an error from other code, for use in a message."""
    return f'{type(error).__name__}: {(str(error).splitlines() or ["no details"])[0]}'


def has_own_message(error: BaseException) -> bool:
    """Return whether the commands explain an error to the user already: ours, or a full disk."""
    return isinstance(error, (UserError, PackageError)) or (isinstance(error, OSError) and error.errno in DISK_FULL)
