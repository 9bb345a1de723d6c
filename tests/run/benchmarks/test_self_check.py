"""The study that damages exported files."""
import numpy as np
import pytest

from benchmarks import self_check


def test_main_checks_damaged_files_and_evaluates_what_is_missed(exported, shapes, capsys, monkeypatch):
    annotations = shapes / 'annotations/instances_val2017.json'
    command = [str(exported / 'detector.xml'), '--images', str(shapes / 'val2017'), '--annotations', str(annotations)]
    self_check.main([*command, '--count', '2'])
    assert ': 2 of 2 found' in capsys.readouterr().out
    monkeypatch.setattr(self_check.run_check.__globals__['SelfCheck'], 'passes', True)
    self_check.main([*command, '--count', '1'])
    output = capsys.readouterr().out
    assert ': 0 of 1 found' in output
    assert 'missed: ' in output


@pytest.mark.parametrize('kind', self_check.KINDS)
def test_damages_change_a_tensor_and_keep_its_shape(kind):
    random = np.random.default_rng(0)
    values = np.arange(1., 25).reshape(4, 3, 2)
    damaged = self_check.KINDS[kind](values, random)
    assert damaged.shape == values.shape
    assert (damaged != values).any()
