"""faster-coco-eval gives pycocotools' numbers, also where left to itself it would not."""
import contextlib
import io
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.eval_speed import largest_difference, made_up
from ghostdet.errors import UserError
from ghostdet.evaluation import fast_coco
from ghostdet.evaluation.coco_table import CocoTable, evaluate
from ghostdet.evaluation.fast_coco import FastCOCOeval
from tests.conftest import examples

EXACT = 1e-9  # where 1e-6 was asked for
SIZE = 400
# Ids as people write them: numbers, text, beyond what a float can tell apart, and 0.
IDS = dict(numbers=lambda number: number, text='no. {}'.format, huge=lambda number: 2 ** 60 + number,
           from_zero=lambda number: number - 1)


def draw_box(rng, grid):
    """On a grid many overlaps are exactly 0.5, 0.6 or 0.75, and many areas exactly 32 or 96 squared."""
    corner, side = rng.uniform(0, SIZE, 2), np.exp(rng.uniform(np.log(4), np.log(SIZE)))
    box = np.concatenate([corner, side * rng.uniform(0.5, 2, 2)])
    return on_grid(box, grid)


def on_grid(box, grid):
    return (np.maximum(np.round(box / grid) * grid, [0, 0, grid, grid]) if grid else np.maximum(box, 1)).tolist()


def draw_set(seed, images, classes, boxes, detections, grid, scores, ids):
    """Ground truth and detections; the last class never has a box, and of the boxes some are crowds.

    Args:
        scores: how many different ones there are; 0 for no limit.
    """
    rng, name = np.random.default_rng(seed), IDS[ids]
    truth, result = [], []
    for image in range(1, images + 1):
        mine = []
        for _ in range(rng.integers(boxes + 1)):
            box = draw_box(rng, grid)
            number = len(truth) + len(mine) + 1  # pycocotools, too, needs a number here
            mine.append(dict(id=number if ids == 'text' else name(number), bbox=box,
                             image_id=name(image), category_id=name(int(rng.integers(max(1, classes - 1))) + 1),
                             iscrowd=int(rng.random() < 0.15), ignore=int(rng.random() < 0.1),
                             area=box[2] * box[3] * (1 if grid else rng.uniform(0.4, 1))))
        for _ in range(rng.integers(detections + 1)):
            box, label = draw_box(rng, grid), name(int(rng.integers(classes)) + 1)
            if mine and rng.random() < 0.6:
                near = mine[rng.integers(len(mine))]
                box = on_grid(near['bbox'] + rng.normal(0, 0.1, 4) * near['bbox'][2], grid)
                label = near['category_id'] if rng.random() < 0.85 else label
            score = float(rng.integers(scores) / scores if scores else rng.random())
            result.append(dict(image_id=name(image), category_id=label, bbox=box, score=score))
        truth += mine
    return dict(images=[dict(id=name(image), file_name='', width=SIZE, height=SIZE) for image in range(1, images + 1)],
                categories=[dict(id=name(label), name=str(label)) for label in range(1, classes + 1)],
                annotations=truth), result


SETS = st.builds(draw_set, seed=st.integers(0, 2 ** 32), images=st.integers(1, 6), classes=st.integers(1, 5),
                 boxes=st.integers(0, 20), detections=st.sampled_from([0, 3, 30, 160]), grid=st.sampled_from([0, 1, 8]),
                 scores=st.sampled_from([0, 1, 5]), ids=st.sampled_from(sorted(IDS)))


def both_tables(truth, result, classes=None):
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, 'truth.json'), Path(folder, 'found.json')
        for file, content in zip(files, (truth, result)):
            file.write_text(json.dumps(content))
        return evaluate(*files, classes), evaluate(*files, classes, fast=True)


def both_evaluations(truth, result, most):
    """All of precision and recall, with a `maxDets` of one's own; mmdet's is (100, 300, 1000)."""
    results = []
    for kind in (COCOeval, FastCOCOeval):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = json.loads(json.dumps(truth))
            coco.createIndex()
            evaluation = kind(coco, coco.loadRes(json.loads(json.dumps(result))), 'bbox')
            evaluation.params.maxDets = list(most)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        results.append(evaluation)
    return results


@pytest.mark.filterwarnings('ignore:Found annotation id 0')
@examples(120)
@given(SETS)
def test_twelve_numbers_and_rows_of_classes_are_those_of_pycocotools(drawn):
    slow, fast = both_tables(*drawn)
    assert fast.metrics == pytest.approx(slow.metrics, abs=EXACT, nan_ok=True)
    assert list(fast.classes) == list(slow.classes)
    for name, row in slow.classes.items():
        assert fast.classes[name] == pytest.approx(row, abs=EXACT, nan_ok=True)


@pytest.mark.filterwarnings('ignore:Found annotation id 0')
@pytest.mark.parametrize('most', [(1, 10, 100), (100, 300, 1000), (1, 5, 20)], ids=str)
@pytest.mark.parametrize('ids', IDS)
def test_everything_below_the_numbers_is_that_of_pycocotools(most, ids):
    """Also more detections of one class in an image than count, and AP at 100 of them where more are allowed."""
    slow, fast = both_evaluations(*draw_set(5, 4, 2, 15, 300, 0, 0, ids), most)
    assert fast.stats == pytest.approx(slow.stats, abs=EXACT)
    for key in ('precision', 'recall'):
        assert fast.eval[key] == pytest.approx(slow.eval[key], abs=EXACT)
    assert slow.stats[0] > 0 or 100 not in most


def test_keys_that_pycocotools_does_not_read_change_nothing():
    truth, result = draw_set(1, 4, 3, 15, 60, 0, 0, 'numbers')
    expected, _ = both_tables(truth, result)
    for box in truth['annotations']:
        box['is_crowd'] = 1
    for box in result:
        box.update(lvis_mark=True, drop=True)
    for table in both_tables(truth, result):
        assert largest_difference(table, expected) < EXACT


def test_chosen_classes_alone_are_counted():
    slow, fast = both_tables(*draw_set(2, 4, 4, 15, 60, 0, 0, 'numbers'), classes=('1', '3'))
    assert list(fast.classes) == ['1', '3']
    assert largest_difference(slow, fast) < EXACT


@pytest.mark.parametrize('key', ['score', 'bbox'])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(key, value):
    truth, result = draw_set(1, 4, 3, 15, 60, 0, 0, 'numbers')
    result[7][key] = value if key == 'score' else [3, 4, value, 5]
    with pytest.raises(UserError, match='not finite'):
        both_tables(truth, result)


def test_without_the_package_what_to_install_is_told(monkeypatch):
    monkeypatch.setattr(fast_coco, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match='pip install faster-coco-eval'):
        both_tables(*draw_set(1, 1, 1, 3, 3, 0, 0, 'numbers'))


def test_largest_difference_sees_a_number_that_is_missing():
    one, other = (CocoTable(dict(AP=0.5), dict(cat=dict(AP=value))) for value in (0.25, math.nan))
    assert largest_difference(one, other) == math.inf
    assert largest_difference(other, other) == 0
    assert largest_difference(one, CocoTable(dict(AP=0.5), dict(cat=dict(AP=0.5)))) == 0.25


def test_made_up_sets_are_of_the_asked_size_and_the_same_again():
    truth, result = made_up(50, 100, 12)
    assert (len(truth['images']), len(result)) == (50, 5000)
    assert len({(box['image_id'], box['category_id']) for box in result}) <= 12 * 50
    areas = np.array([box['area'] for box in truth['annotations']])
    assert (areas < 32 ** 2).any()
    assert (areas > 96 ** 2).any()
    assert made_up(50, 100, 12) == (truth, result)
