"""How commands end."""
import subprocess
import sys


def test_a_door_opens(tmp_path):
    result = subprocess.run([sys.executable, '-m', 'ghostdet', 'weights', 'list'], capture_output=True, text=True,
                            cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'ghostdet://ghostnet_1.0x' in result.stdout
