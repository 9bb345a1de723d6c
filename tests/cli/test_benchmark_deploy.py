"""Exported files beside mmdet, through the command line."""
import pytest

from ghostdet.analysis.deploy_speed import DeploySpeed
from ghostdet.cli import door
from ghostdet.engine.exporter import check_packages
from tests.conftest import MINI, tool

pytestmark = pytest.mark.slow


def run(*arguments):
    return door.run(tool('benchmark'), ['deploy', *map(str, arguments)])


def test_all_take_turns(shapes, tmp_path, capsys):
    few = ['--count', 2, '--rounds', 2, '--scale', 64, 64]
    assert run(MINI, '--images', shapes / 'val2017', *few, '--out', tmp_path / 'out') == 0
    told = capsys.readouterr().out
    assert 'random weights, 2 images made to fit into 64x64, 2 rounds' in told
    for name in ('PyTorch, inference_detector', 'ONNX Runtime, fp32', 'OpenVINO, fp32', 'OpenVINO, int8', 'ncnn, fp32'):
        assert any(line.startswith(name) for line in told.splitlines()), name
    table = (tmp_path / 'out/deploy_speed.md').read_text()
    assert '| PyTorch, inference_detector |' in table
    assert (tmp_path / 'out/deploy_speed.png').read_bytes().startswith(b'\x89PNG')


def test_figures():
    speed = DeploySpeed('a race', {'one': (0.2, 0.4, 0.2), 'other': (0.1, 0.1, 0.2)})
    assert speed.times('one').median == pytest.approx(200)
    assert speed.ratios('one').median == 1
    assert speed.ratios('other').median == pytest.approx(2)  # of 2, 4 and 1, by rounds
    assert speed.lines()[2][:2] == ['other', '100.0']


@pytest.mark.parametrize(('arguments', 'told'), [(['--rounds', '0'], 'have to be at least 1'), ([], 'there are no images')])
def test_what_is_wrong_is_told(arguments, told, tmp_path, capsys):
    assert run(MINI, '--images', tmp_path, *arguments, '--out', tmp_path / 'out') == 1
    assert told in capsys.readouterr().err


def test_there_is_all_that_it_needs():
    check_packages('onnx', 'nncf', 'openvino')
