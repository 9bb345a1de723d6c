"""Benchmarks count, pair and judge as they say."""
import csv
import io
import json

import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks.speed_plots import draw_flops, draw_sizes
from benchmarks.speed_table import Race, Row, Setting, SpeedTable, Target
from benchmarks.timing import Peak, Quartiles, Work, count_work, kept_bytes, race


def made_up(height=320, batch=1, task='inference', one=(1.0, 2.0, 3.0), other=(2.0, 2.0, 12.0)):
    rows = (Row('timm', 'default', other, Work(400, 80), 100), Row('ghostnet', 'default', one, Work(200, 40), 60))
    return Race(Setting(task, height, height, batch, 2, 'float32'), Peak(macs=100.0, bandwidth=10.0), rows)


def test_each_call_is_timed_the_second_of_two_times_in_a_row():
    called = []
    calls = [lambda name=name: called.append(name) for name in 'abc']
    rounds = list(race(calls, 5, lambda call: call() or len(called)))
    pairs = [called[index:index + 2] for index in range(0, len(called), 2)]
    assert all(one == two for one, two in pairs)
    assert len(pairs) == 15
    assert all(sorted(one for one, _ in pairs[index:index + 3]) == ['a', 'b', 'c'] for index in range(0, 15, 3))
    # the order changes
    assert len({tuple(one for one, _ in pairs[index:index + 3]) for index in range(0, 15, 3)}) > 1
    for number, seconds in enumerate(rounds):  # the figure of each call is its own
        assert [called[round(second) - 1] for second in seconds] == ['a', 'b', 'c'], number


def test_work_of_a_convolution_and_a_linear_layer():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.Flatten(), nn.Linear(8 * 25, 7))
    x = torch.rand(2, 4, 5, 5)
    result = count_work(model, lambda: model(x))
    assert result.macs == 2 * 8 * 25 * 2 * 9 + 2 * 7 * 200
    assert result.bytes == 4 * (2 * 4 * 25 + 8 * 2 * 9 + 2 * 8 * 25) + 4 * (2 * 200 + 7 * 200 + 2 * 7)
    assert result.times(3) == Work(3 * result.macs, 3 * result.bytes)


def test_kept_bytes_count_each_tensor_once_and_no_parameter():
    model = nn.Sequential(nn.Linear(3, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False))
    x = torch.rand(7, 3)
    # kept: the input, and what ReLU gives, which two layers keep
    assert kept_bytes(model, lambda: model(x)) == 4 * (7 * 3 + 7 * 5)


def test_the_limit_is_the_slower_of_arithmetic_and_memory():
    assert Peak(macs=100.0, bandwidth=10.0).seconds(Work(200, 40)) == 4
    assert Peak(macs=100.0, bandwidth=10.0).seconds(Work(800, 40)) == 8


def test_ratios_are_of_pairs():
    result = made_up()
    assert result.ratio(result.rows[1], 'timm') == Quartiles(0.5, 0.375, 0.75)  # of 0.5, 1, 0.25: not 2 / 2
    assert result.ratio(result.rows[1], 'mobilenetv2') is None


def test_all_forms_of_the_table_tell_the_same():
    table = SpeedTable('a machine', (made_up(), made_up(224, batch=4)))
    records = json.loads(table.to_json())['rows']
    assert len(records) == 4
    assert records[1]['ratio_to_timm'] == 0.5
    assert records[1]['times_limit'] == 2.0 / 4
    assert records[3]['images_per_second'] == 4 / 2.0
    lines = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [line['seconds'] for line in lines] == [str(record['seconds']) for record in records]
    for text in (table.to_text(), table.to_markdown()):
        assert '2000.0' in text
        assert 'inference, 4 x 224x224, float32, 2 threads; peak' in text


def test_a_detector_is_compared_with_the_detector_of_a_reference():
    rows = (Row('retinanet_mobilenetv2_coco', 'optimized', (1.0,), Work(1, 1)),
            Row('retinanet_mobilenetv2_coco', 'default', (4.0,), Work(1, 1)),
            Row('retinanet_x', 'default', (2.0,), Work(1, 1)))
    result = Race(Setting('detector', 1, 1, 1, 1, 'float32'), Peak(1.0, 1.0), rows)
    assert [record['ratio_to_mobilenetv2'] for record in result.records()] == [0.25, 1.0, 0.5]


@pytest.mark.parametrize(('bound', 'of', 'verdict'), [
    (0.5, 'time', 'met'), (0.4, 'time', 'undecided'), (0.3, 'time', 'missed'), (0.6, 'memory', 'met'),
    (0.59, 'memory', 'missed')])
def test_targets(bound, of, verdict):
    target = Target('inference', (320, 320), ('ghostnet', 'default'), ('timm', 'default'), bound, of)
    line, = SpeedTable('', (made_up(), made_up(640), made_up(task='training')), (target,)).verdicts()
    assert line.startswith(verdict)
    assert ('0.500 (0.375 to 0.750)' if of == 'time' else '0.600') in line


@pytest.mark.parametrize('races', [(), (made_up(224), made_up(640), made_up(224, batch=4))])
def test_charts(races, tmp_path):
    for draw in (draw_flops, draw_sizes):
        draw(SpeedTable('a machine', races), tmp_path / 'chart.png')
        with Image.open(tmp_path / 'chart.png') as image:
            assert min(image.size) > 300
