"""`ghostdet reproduce` with the real training, for one cell; kills and failures: run/training/test_reproduction.py."""
import json
import re
import shutil

import pytest
from PIL import Image

from ghostdet.cli import door
from ghostdet.training.reproduction import Reproduction
from tests.conftest import ROOT, SHORT, tool

ONE = ['--mini', '--only', 'retinanet_ghostnet']

# As SHORT, but with the batches that the tool itself decides on, and two epochs.
OPTIONS = [option for option in SHORT
           if not option.startswith('train_dataloader.batch_size')] + ['train_cfg.max_epochs=2']


def reproduce(work_dir, data, *arguments, options=OPTIONS):
    return door.run(tool('reproduce'), [*ONE, '--work-dir', str(work_dir), '--data-root', str(data), *arguments,
                                           '--cfg-options', *options])


def test_the_readme_has_the_table_of_the_coco_configs(tmp_path):
    table = Reproduction(tmp_path, data_root=tmp_path, gpus=0).write_table()
    # arXiv 1911.11907, table 9
    assert [cell.paper_ap for cell in table.cells] == [0.267, 0.264, 0.266, 0.275, 0.269, 0.269]
    readme = (ROOT / 'README.md').read_text().splitlines()
    for line in (tmp_path / 'table9.md').read_text().splitlines():
        if line.startswith(('| detector', '| RetinaNet', '| Faster')):
            assert '|'.join(line.split('|')[:8]) + '|' in readme


def test_where_is_coco(capsys):
    assert door.run(tool('reproduce'), []) == 1
    assert 'name the folder of COCO with --data-root' in capsys.readouterr().err


@pytest.fixture(scope='module')
def run(shapes, tmp_path_factory):
    """Work directory of a table with one cell."""
    work_dir = tmp_path_factory.mktemp('table')
    assert reproduce(work_dir, shapes) == 0
    return work_dir


@pytest.mark.nightly
def test_a_cell_is_measured_and_the_others_say_that_they_were_not_run(run):
    cells = {cell['name']: cell for cell in json.loads((run / 'table9.json').read_text())['cells']}
    cell = cells.pop('retinanet_ghostnet_1.1x')
    assert cell['result']['metrics'] == json.loads((run / 'retinanet_ghostnet_1.1x/coco.json').read_text())['metrics']
    assert [epoch for epoch, _ in cell['result']['ap_by_epoch']] == [1, 2]
    assert cell['result']['ap_by_epoch'][-1][1] == pytest.approx(cell['result']['metrics']['AP'], abs=1e-3)
    assert 0 < cell['result']['hours'] < 1
    assert cell['result']['images_per_second'] > 0
    assert cell['result']['made']['seed'] == 0
    assert cell['macs'] == pytest.approx(167.0e6, rel=1e-3)
    assert cell['paper_ap'] is None  # a rehearsal
    assert [cell['result'] for cell in cells.values()] == [None] * 5
    text = (run / 'table9.md').read_text()
    assert text.count('| not run |') == 5
    assert re.search(r'\| RetinaNet \| GhostNet 1.1x \| 164 M \| 167 M \| 3.33 M \| - \| \d+\.\d \|', text)
    assert 'a rehearsal' in text
    with Image.open(run / 'table9.png') as image:
        assert image.width > 1000


@pytest.mark.nightly
def test_nothing_is_left_to_do(run, shapes, capfd):
    before = {file: file.stat().st_mtime_ns for file in (run / 'retinanet_ghostnet_1.1x').rglob('*')}
    assert reproduce(run, shapes) == 0
    output = capfd.readouterr()
    assert 'finished: retinanet_ghostnet_1.1x; left: none' in output.err
    assert 'not run' in output.out
    assert {file: file.stat().st_mtime_ns for file in (run / 'retinanet_ghostnet_1.1x').rglob('*')} == before


@pytest.mark.nightly
def test_a_cell_that_was_trained_by_hand_is_taken_into_the_table(run, shapes, tmp_path, capfd):
    shutil.copytree(run, tmp_path / 'table')
    file = tmp_path / 'table/retinanet_ghostnet_1.1x/result.json'
    result = json.loads(file.read_text())
    file.unlink()
    assert reproduce(tmp_path / 'table', shapes) == 0
    assert 'Epoch(train)' not in capfd.readouterr().out
    again = json.loads(file.read_text())
    assert {**again, 'made': None} == {**result, 'made': None}
