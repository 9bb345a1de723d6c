"""Exported files beside mmdet, through the command line."""
from functools import partial
from statistics import median

import pytest

from benchmarks.deploy_speed import DeploySpeed
from benchmarks.light_table import ALONE, PUBLISHED, LightTable, measure_light
from ghostdet.cli import door
from ghostdet.deploy.exporter import check_packages
from tests.conftest import MINI, study


def run(*arguments):
    return door.run(study('speed'), ['deploy', *map(str, arguments)])


def test_figures():
    speed = DeploySpeed('a race', {'one': (0.2, 0.4, 0.2), 'other': (0.1, 0.1, 0.2)})
    assert speed.times('one').median == pytest.approx(200)
    assert speed.ratios('one').median == 1
    assert speed.ratios('other').median == pytest.approx(2)  # of 2, 4 and 1, by rounds
    assert speed.lines()[2][:2] == ['other', '100.0']


@pytest.mark.parametrize(('arguments', 'message'),
                         [(['--rounds', '0'], 'have to be at least 1'), ([], 'there are no images')])
def test_what_is_wrong_is_told(arguments, message, tmp_path, capsys):
    assert run(MINI, '--images', tmp_path, *arguments, '--out', tmp_path / 'out') == 1
    assert message in capsys.readouterr().err


def test_there_is_all_that_it_needs():
    check_packages('onnx', 'nncf', 'openvino')


@pytest.mark.nightly
def test_all_take_turns(shapes, tmp_path, capsys):
    few = ['--count', 2, '--rounds', 2, '--scale', 64, 64]
    assert run(MINI, '--images', shapes / 'val2017', *few, '--out', tmp_path / 'out') == 0
    message = capsys.readouterr().out
    assert 'random weights, 2 images made to fit into 64x64, 2 rounds' in message
    for name in ('PyTorch, inference_detector', 'ONNX Runtime, fp32', 'OpenVINO, fp32', 'OpenVINO, int8', 'ncnn, fp32'):
        assert any(line.startswith(name) for line in message.splitlines()), name
    table = (tmp_path / 'out/deploy_speed.md').read_text()
    assert '| PyTorch, inference_detector |' in table
    assert (tmp_path / 'out/deploy_speed.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.nightly
def test_light_detectors_side_by_side(shapes, tmp_path, capsys, monkeypatch):
    """The preset with one detector of a small size."""
    name = 'nanodet-plus_shufflenetv2_1.0x_416_coco'
    monkeypatch.setattr('benchmarks.speed.measure_light', partial(measure_light, entries=((name, 64),)))
    monkeypatch.setitem(PUBLISHED, (name, 64), (12.3, 'https://example.org'))
    assert run('--preset', 'light', '--images', shapes / 'val2017', '--count', 2, '--rounds', 2, '--out', tmp_path) == 0
    table = LightTable.read((tmp_path / 'light.json').read_text())
    assert {row.runtime for row in table.rows} >= {*ALONE}
    assert all(len(row.seconds) == 2 and row.megabytes > 2 for row in table.rows)
    assert all(len(row.network) == (2 if row.runtime in ALONE else 0) for row in table.rows)
    text = (tmp_path / 'light.md').read_text()
    assert text == table.to_markdown()
    assert text in capsys.readouterr().out
    assert '| nanodet-plus_shufflenetv2_1.0x | 64 | [12.3](https://example.org) | 1.19 | ' in text
    for row in table.rows:
        assert f' {1000 * median(row.seconds):.1f} |' in text
    assert (tmp_path / 'light.png').stat().st_size > 10_000
