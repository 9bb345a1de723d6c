"""The table's renderings say the same, and nothing that was not measured."""
import json

import pytest
from PIL import Image

from ghostdet.training.table9 import CELLS, Cell, Table9


def result(ap):
    metrics = dict(AP=ap, AP50=0.5, AP75=0.25, AP_small=None, AP_medium=0.3, AP_large=0.4)
    return dict(metrics=metrics, ap_by_epoch=[[1, ap / 2], [2, ap]], hours=1.5, images_per_second=12.25,
                made=dict(seed=3, torch='2'))


@pytest.fixture
def table():
    """The first cell was run with an AP of 30, the last with 0; the others were not."""
    results = [result(0.3), None, None, None, None, result(0.0)]
    return Table9(tuple(Cell(name, 167_000_000, 12_345_678, 0.266, found) for name, found in zip(CELLS, results)),
                  False)


def rows(text):
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line.startswith('|')]


def test_measured_stands_beside_the_paper_and_what_was_not_run_says_so(table):
    header, _, first, second, *_ = rows(table.to_markdown())
    assert dict(zip(header, first)) == {
        'detector': 'RetinaNet', 'backbone': 'MobileNetV2 1.0x', 'FLOPs, paper': '300 M', 'FLOPs, counted': '167 M',
        'detector params': '12.35 M', 'AP, paper': '26.6', 'AP, measured': '30.0', 'difference': '+3.4', 'AP50': '50.0',
        'AP75': '25.0', 'AP_small': '-', 'AP_medium': '30.0', 'AP_large': '40.0', 'training h': '1.50',
        'images/s': '12.2'}
    assert second[6:] == ['not run', *['-'] * 8]
    last = rows(table.to_markdown())[7]
    assert last[6:8] == ['0.0', '-26.6']  # an AP of 0 was measured
    assert "on COCO's val2017" in table.to_markdown()
    assert 'do not compare it with COCO' in Table9(table.cells, True).to_markdown()
    assert ['run', 'seed', 'torch'] in rows(table.to_markdown())
    assert [CELLS[5], '3', '2'] in rows(table.to_markdown())


def test_renderings_agree(table):
    text = table.to_text()
    for row in rows(table.to_markdown())[2:8]:
        assert any(all(cell in line for cell in row) for line in text.splitlines())
    cells = json.loads(table.to_json())['cells']
    assert [cell['name'] for cell in cells] == list(CELLS)
    assert cells[0]['difference'] == pytest.approx(0.034)
    assert cells[0]['result'] == table.cells[0].result
    assert cells[1]['result'] is cells[1]['difference'] is None


def test_only_what_was_measured_is_drawn(table, tmp_path, monkeypatch):
    drawn = []

    def note(axes, x, y, *_, fillstyle=None, **__):
        drawn.append((x, y, fillstyle))
    monkeypatch.setattr('matplotlib.axes.Axes.plot', note)
    table.draw(tmp_path / 'table9.png')
    assert [y for _, y, style in drawn if style == 'none'] == [26.6] * 6
    filled = [(x, y) for x, y, style in drawn if style is None]
    assert filled == [(167.0, 30.0), ([1, 2], [15.0, 30.0]), (167.0, 0.0), ([1, 2], [0.0, 0.0])]
    assert Image.open(tmp_path / 'table9.png').width > 1000
