"""How commands end."""
import subprocess
import sys

import pytest


def test_a_door_opens(tmp_path):
    result = subprocess.run([sys.executable, '-m', 'ghostdet', 'weights', 'list'], capture_output=True, text=True,
                            cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'ghostdet://ghostnet_1.0x' in result.stdout


@pytest.mark.parametrize('words', ['configs', '--help', 'train --help'])
def test_a_closed_pipe_ends_a_command_quietly(words):
    command = f'{sys.executable} -m ghostdet {words} | head -1'
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.stdout.count('\n') == 1
    assert result.stderr == ''
