"""How commands end."""
import ast
import errno
import io
import os
from importlib import import_module

import pytest

from ghostdet.cli import door
from ghostdet.cli.command import SHARED
from ghostdet.errors import DataError, UserError
from tests.conftest import ROOT, tool


def ended(error):
    def main(arguments):
        raise error
    return door.run(main)


@pytest.mark.parametrize(('error', 'message'), [
    (UserError('the config (UserError: none) is wrong'), 'error: the config (UserError: none) is wrong'),
    (DataError('In a worker:\nTraceback (most recent call last):\n  File\nghostdet.errors.DataError: it is cut'),
     'error: it is cut')])
def test_messages_are_whole(error, message, capsys):
    assert ended(error) == 1
    assert capsys.readouterr().err == f'\n{message}\n'


@pytest.mark.parametrize(('number', 'message'), [
    (errno.ENOSPC, 'the disk is full'), (errno.EACCES, 'no permission to read or write'),
    (errno.EISDIR, 'another file or folder is in the way'), (errno.ENAMETOOLONG, 'the name is not allowed')])
def test_what_the_system_refuses_is_told(number, message, capsys):
    assert ended(OSError(number, os.strerror(number))) == 1
    assert message in capsys.readouterr().err


def test_run_prints_names_in_a_terminal_that_has_not_their_letters(monkeypatch):
    output = io.BytesIO()
    monkeypatch.setattr('sys.stdout', io.TextIOWrapper(output, 'ascii'))
    assert door.run(lambda _: print('苹果 cat')) == 0  # noqa: T201
    assert output.getvalue() == b'\\u82f9\\u679c cat\n'


def test_faults_of_the_code_are_not_hidden(monkeypatch):
    with pytest.raises(OSError, match='odd'):
        ended(OSError(errno.EBADF, 'odd'))
    with pytest.raises(ValueError, match='odd'):
        ended(ValueError('odd'))
    with open(os.devnull, 'w') as output:
        monkeypatch.setattr('sys.stdout', output)
        with pytest.raises(BrokenPipeError):  # of another pipe than the output
            ended(BrokenPipeError())

COMMANDS = sorted(file.stem for file in (ROOT / 'ghostdet/cli').glob('*.py') if file.stem not in SHARED)


def test_the_doors_in_tools_do_nothing_else():
    """As mmdet's tools/train.py and tools/test.py, which people look for."""
    for name in ('train', 'test'):
        text = (ROOT / f'tools/{name}.py').read_text()
        purpose = ast.get_docstring(ast.parse((ROOT / f'ghostdet/cli/{name}.py').read_text())).splitlines()[0]
        assert ast.get_docstring(ast.parse(text)) == purpose, name
        assert text.endswith(f"if __name__ == '__main__':\n    sys.exit(door.run({name}.main))\n"), name


@pytest.mark.parametrize('name', COMMANDS)
def test_help_shows_the_purpose_and_a_line_to_run(name, capsys):
    with pytest.raises(SystemExit, match='0'):
        tool(name)(['--help'])
    shown = capsys.readouterr().out
    assert f'ghostdet {name.replace("_", "-")} ' in shown.partition('positional')[0].replace('\n', ' \n')
    assert import_module(f'ghostdet.cli.{name}').__doc__.splitlines()[0] in shown
