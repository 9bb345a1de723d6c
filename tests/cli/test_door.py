"""How commands end."""
import errno
import os

import pytest

from ghostdet.cli import door
from ghostdet.errors import DataError, UserError


def ended(error):
    def main(arguments):
        raise error
    return door.run(main)


@pytest.mark.parametrize(('error', 'told'), [
    (UserError('the config (UserError: none) is wrong'), 'error: the config (UserError: none) is wrong'),
    (DataError('In a worker:\nTraceback (most recent call last):\n  File\nghostdet.errors.DataError: it is cut'),
     'error: it is cut')])
def test_messages_are_whole(error, told, capsys):
    assert ended(error) == 1
    assert capsys.readouterr().err == f'\n{told}\n'


@pytest.mark.parametrize(('number', 'told'), [
    (errno.ENOSPC, 'the disk is full'), (errno.EACCES, 'no permission to read or write'),
    (errno.EISDIR, 'another file or folder is in the way'), (errno.ENAMETOOLONG, 'the name is not allowed')])
def test_what_the_system_refuses_is_told(number, told, capsys):
    assert ended(OSError(number, os.strerror(number))) == 1
    assert told in capsys.readouterr().err


def test_faults_of_the_code_are_not_hidden():
    with pytest.raises(OSError, match='odd'):
        ended(OSError(errno.EBADF, 'odd'))
    with pytest.raises(ValueError, match='odd'):
        ended(ValueError('odd'))
