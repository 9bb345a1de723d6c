"""The Python API: what a script or a notebook calls."""
import sys

from tests.conftest import ROOT, made_by

EXAMPLE = ROOT / 'examples/train_export_detect.py'


def test_the_example_runs_twice_in_one_process(shapes, tmp_path):
    assert len([line for line in EXAMPLE.read_text().split('"""')[2].splitlines() if line]) <= 15
    lines = made_by(sys.executable, EXAMPLE, tmp_path, shapes).splitlines()
    message = [line for line in lines if line.startswith(('first', 'second'))]
    assert [line.partition(':')[0] for line in message] == ['first', 'second']
    assert message[0].partition(':')[2] == message[1].partition(':')[2]  # of one seed, whatever ran before
    for run in ('first', 'second'):
        assert (tmp_path / run / 'test/coco.json').is_file()
        assert len(list((tmp_path / run).glob('*/vis_data/scalars.json'))) == 1
