"""Failures that the person at the keyboard can mend."""


class UserError(Exception):
    """Something outside the code is wrong; the message says what, where, and what to do. Tools print it without traceback."""


class DataError(UserError):
    """The data set on disk is wrong."""
