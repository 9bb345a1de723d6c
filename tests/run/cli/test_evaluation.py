"""--fast-eval, the measurement of what it saves, and --check-expected, through the command lines."""
import json
import re

import numpy as np
import pytest
from mmdet.registry import METRICS

from ghostdet.cli import door
from ghostdet.evaluation import fast_coco
from ghostdet.evaluation.coco_table import evaluate
from ghostdet.evaluation.fast_coco import FastCOCOeval
from ghostdet.models.fast_ghostnet import FastGhostNet
from tests.conftest import MINI, run_tool, study


@pytest.fixture
def calls(monkeypatch):
    """Grows by one with every fast evaluation."""
    made, evaluate_fast = [], FastCOCOeval.evaluate
    monkeypatch.setattr(FastCOCOeval, 'evaluate', lambda self: (made.append(1), evaluate_fast(self)))
    return made


def numbers(file):
    """The tables of a coco.json, flat."""
    content = json.loads(file.read_text())
    rows = dict(content['classes'], all=content['metrics'])
    return {(row, key): np.nan if value is None else value
            for row, values in rows.items() for key, value in values.items()}


def logged(work_dir):
    """The AP that mmdet's metric gave the last time."""
    lines = [line for file in sorted(work_dir.glob('*/*.log')) for line in file.read_text().splitlines()]
    return re.findall(r'coco/bbox_mAP: (\S+)', '\n'.join(lines))[-1]


def test_test_tool_writes_the_same_tables(trained, shapes, tmp_path, calls):
    """As the training run, which ended with an evaluation by pycocotools."""
    arguments = [MINI, trained / 'epoch_2.pth', '--work-dir', tmp_path, '--data-root', shapes]
    assert run_tool('test', *arguments, '--fast-eval') == 0
    assert len(calls) == 1
    slow, fast = numbers(trained / 'coco.json'), numbers(tmp_path / 'coco.json')
    assert fast == pytest.approx(slow, abs=1e-6, nan_ok=True)
    assert slow[('all', 'AP')] > 0
    assert logged(tmp_path) == logged(trained)


def test_train_tool_evaluates_by_it_too(shapes, tmp_path, calls):
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, '--fast-eval') == 0
    assert len(calls) == 1
    table = evaluate(shapes / 'annotations/instances_val2017.json', tmp_path / 'detections.bbox.json')
    assert numbers(tmp_path / 'coco.json')[('all', 'AP')] == pytest.approx(table.metrics['AP'], abs=1e-6)


def test_without_the_package_nothing_runs_and_what_to_install_is_told(trained, shapes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fast_coco, 'find_spec', lambda name: None)
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = '{MINI}'\ntest_evaluator = dict(fast_eval=True)\n")
    checkpoint = trained / 'epoch_2.pth'
    for arguments in (['train', MINI, '--fast-eval'], ['test', MINI, checkpoint, '--fast-eval'],
                      ['test', own, checkpoint]):
        assert run_tool(*arguments, '--work-dir', tmp_path / 'run', '--data-root', shapes) == 1
        assert 'error: the fast evaluation needs faster-coco-eval' in (error := capsys.readouterr().err)
        assert 'pip install faster-coco-eval' in error
    assert not list((tmp_path / 'run').glob('*'))


@pytest.mark.parametrize('option', ['metric=proposal', 'use_mp_eval=True'])
def test_what_it_is_not_for_is_refused(option, trained, shapes, tmp_path, capsys):
    assert run_tool('test', MINI, trained / 'epoch_2.pth', '--work-dir', tmp_path, '--data-root', shapes, '--fast-eval',
                    options=[f'test_evaluator.{option}']) == 1
    assert '--fast-eval evaluates boxes with COCO\'s settings' in capsys.readouterr().err
    assert not (tmp_path / 'detections.bbox.json').exists()


def test_coco_table_metric_gives_mmdets_numbers(shapes):
    """Of 90 detections of an image: of more than 100, mmdet's AP counts 100 and its AP50 counts 1000."""
    rng = np.random.default_rng(0)
    annotations = shapes / 'annotations/instances_val2017.json'
    content = json.loads(annotations.read_text())
    results = []
    for image in content['images']:
        boxes = np.array([box['bbox'] for box in content['annotations'] if box['image_id'] == image['id']])
        boxes = np.resize(boxes, (90, 4)) * rng.normal(1, 0.1, (90, 4))
        labels, scores = rng.integers(3, size=len(boxes)), rng.random(len(boxes))
        results.append((None,
                        dict(img_id=image['id'], bboxes=boxes + boxes[:, [0, 1, 0, 1]] * [0, 0, 1, 1], labels=labels,
                             scores=scores)))
    computed = []
    for kind in (dict(type='CocoMetric'), dict(type='CocoTableMetric'), dict(type='CocoTableMetric', fast_eval=True)):
        metric = METRICS.build(dict(kind, ann_file=str(annotations)))
        metric.dataset_meta = dict(classes=tuple(category['name'] for category in content['categories']))
        computed.append(metric.compute_metrics(results))
    assert computed[0] == pytest.approx(computed[1], abs=1e-6)
    assert computed[0] == pytest.approx(computed[2], abs=1e-6)
    assert computed[0]['bbox_mAP'] > 0


def test_what_it_saves_is_measured_and_the_numbers_compared(capsys):
    assert door.run(study('speed'), ['eval', '--images', '20', '--detections', '120', '--pairs', '2']) == 0
    text = capsys.readouterr().out
    assert re.match(r'20 images, \d+ boxes, 2400 detections of \d+\.\d classes an image; 2 pairs, processor time\n',
                    text)
    for name, unit in (('pycocotools', ' s'), ('faster-coco-eval', ' s'), ('ratio, by pairs', '')):
        assert re.search(rf'(?m)^{name} +\d+\.\d\d{unit} \(\d+\.\d\d to \d+\.\d\d\)$', text)
    assert float(re.search(r'largest difference .*: (\S+)', text)[1]) < 1e-6


def test_what_cannot_be_measured_is_told(capsys, monkeypatch):
    assert door.run(study('speed'), ['eval', '--pairs', '0']) == 1
    assert 'have to be at least 1' in capsys.readouterr().err
    monkeypatch.setattr(fast_coco, 'find_spec', lambda name: None)
    assert door.run(study('speed'), ['eval']) == 1
    assert 'pip install faster-coco-eval' in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- against the config's AP

def check_expected(trained, shapes, tmp_path, *options):
    return run_tool('test', MINI, trained / 'epoch_2.pth', '--work-dir', tmp_path, '--data-root', shapes,
                    '--check-expected', options=options)


@pytest.mark.parametrize(('expected', 'tolerance', 'verdict'),
                         [(1.0, 0.01, 'below'), (0.0, 1.0, 'within'), (0.0, 0.0, 'above')])
def test_ap_is_compared_after_the_table(expected, tolerance, verdict, trained, shapes, tmp_path, capsys):
    code = check_expected(trained, shapes, tmp_path, f'expected.bbox_mAP={expected}', f'expected.tolerance={tolerance}')
    out, error = capsys.readouterr()
    ap = json.loads((tmp_path / 'coco.json').read_text())['metrics']['AP']
    line = (f'AP {ap:.4f}, expected {expected:.4f}: difference {ap - expected:+.4f}, '
            f'{verdict} the tolerance of {tolerance:.4f}')
    assert out.rstrip().splitlines()[-1] == line
    assert out.index('AR_100') < out.index(line)
    assert code == (verdict == 'below')
    assert ('error: the AP is below what the config expects' in error) == (verdict == 'below')


@pytest.mark.parametrize(('options', 'message'), [
    (['expected=None'], '--check-expected needs an AP to compare with, but the config has none'),
    (['expected.bbox_mAP=26.6', 'expected.tolerance=0.5'],
     "the config has expected = {'bbox_mAP': 26.6, 'tolerance': 0.5, "),
    (['expected.tolerance=None'], 'needs expected = dict(bbox_mAP=0.266, tolerance=0.005)'),
])
def test_nothing_runs_where_there_is_nothing_to_compare_with(options, message, trained, shapes, tmp_path, capsys):
    assert check_expected(trained, shapes, tmp_path, *options) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob('*'))


def test_the_optimized_copy_has_the_same_table(trained, shapes, tmp_path, monkeypatch):
    used, compute = [], FastGhostNet.forward
    monkeypatch.setattr(FastGhostNet, 'forward', lambda self, x: (used.append(1), compute(self, x))[1])
    arguments = [MINI, trained / 'epoch_2.pth', '--data-root', shapes]
    assert run_tool('test', *arguments, '--work-dir', tmp_path / 'fast', '--optimize') == 0
    assert used
    metrics = json.loads((tmp_path / 'fast/coco.json').read_text())['metrics']
    expected = json.loads((trained / 'coco.json').read_text())['metrics']
    assert metrics == {name: value if value is None else pytest.approx(value, abs=1e-3)
                       for name, value in expected.items()}
