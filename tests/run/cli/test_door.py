"""How commands end."""
import subprocess
import sys

from tests.conftest import ROOT


def test_a_door_opens(tmp_path):
    result = subprocess.run([sys.executable, ROOT / 'tools/weights.py', 'list'], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'ghostdet://ghostnet_1.0x' in result.stdout
