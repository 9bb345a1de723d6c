"""Thresholds, precision, recall, F1, counts and confusions are those of a plain loop over boxes and detections."""
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdet.errors import UserError
from ghostdet.evaluation.coco_table import evaluate
from ghostdet.evaluation.mistakes import Mistakes
from ghostdet.evaluation.operating_point import Curve, OperatingPoint
from tests.conftest import examples

CLASSES = {3: 'cat', 7: 'dog', 9: 'never there'}


def box(x, y):
    return [x, y, 20, 20]


# Few places and few scores, so that ties, doubles and overlaps are frequent. A shift of 4 pixels is an IoU of 0.67, one
# of 8 of 0.43.
places = st.tuples(st.sampled_from((0, 30, 60)), st.sampled_from((0, 30)))
annotations = st.tuples(st.integers(0, 3), st.sampled_from((3, 7)), places, st.booleans())
detections = st.tuples(st.integers(0, 3), st.sampled_from((3, 7)), places, st.sampled_from((0, 4, 8)),
                       st.sampled_from((0.05, 0.3, 0.305, 0.62, 0.9)))


def write(folder, truth, found):
    """Two files in COCO's formats; a crowd region only where no other box of the image and class is."""
    records = [dict(id=number, image_id=image, category_id=category, bbox=box(*place), area=400, iscrowd=0)
               for number, (image, category, place, _) in enumerate(dict.fromkeys(truth), 1)]
    for record, (*_, crowd) in zip(records, dict.fromkeys(truth)):
        there = sum(other['image_id'] == record['image_id'] and other['bbox'] == record['bbox'] for other in records)
        record['iscrowd'] = int(crowd and there == 1)
    images = [dict(id=number, file_name=f'{number}.png', width=128, height=128) for number in range(4)]
    categories = [dict(id=number, name=name) for number, name in CLASSES.items()]
    results = [dict(image_id=image, category_id=category, bbox=box(x + shift, y), score=score)
               for image, category, (x, y), shift, score in found]
    files = folder / 'truth.json', folder / 'found.json'
    files[0].write_text(json.dumps(dict(images=images, annotations=records, categories=categories)))
    files[1].write_text(json.dumps(results))
    return *files, records, results


def iou(one, other):
    sides = [max(0, min(one[k] + one[k + 2], other[k] + other[k + 2]) - max(one[k], other[k])) for k in (0, 1)]
    shared = sides[0] * sides[1]
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def covered(one, crowd):
    """The part of a box that is in a crowd region: COCO's IoU with one."""
    sides = [max(0, min(one[k] + one[k + 2], crowd[k] + crowd[k + 2]) - max(one[k], crowd[k])) for k in (0, 1)]
    return sides[0] * sides[1] / (one[2] * one[3])


def loop(records, results, threshold, category=None):
    """Right, wrong and missed objects, one detection after the other; pairs of image and class alone."""
    right, wrong, taken = [], [], set()
    for result in sorted(results, key=lambda result: -result['score']):
        if result['score'] < threshold or category not in (None, result['category_id']):
            continue
        mine = [record for record in records if all(record[key] == result[key] for key in ('image_id', 'category_id'))]
        free = [(iou(result['bbox'], record['bbox']), record['id']) for record in mine
                if not record['iscrowd'] and record['id'] not in taken and iou(result['bbox'], record['bbox']) >= 0.5]
        if free:
            taken.add(max(free)[1])
            right.append(result)
        elif not any(record['iscrowd'] and covered(result['bbox'], record['bbox']) >= 0.5 for record in mine):
            wrong.append(result)
    boxes = [record for record in records if not record['iscrowd'] and category in (None, record['category_id'])]
    return right, wrong, boxes, taken


def f1_of(records, results, threshold):
    right, wrong, boxes, _ = loop(records, results, threshold)
    return 2 * len(right) / max(1, len(right) + len(wrong) + len(boxes))


@examples(100)
@given(st.lists(annotations, min_size=1, max_size=12), st.lists(detections, max_size=16))
def test_operating_point_is_that_of_a_loop(tmp_path_factory, truth, found):
    files = write(tmp_path_factory.mktemp('files'), truth, found)
    point = evaluate(*files[:2]).point
    records, results = files[2:]
    best = max((f1_of(records, results, result['score']) for result in results), default=0)
    assert (point.threshold is None) == (best == 0)
    threshold = point.threshold or 0
    assert f1_of(records, results, threshold) == pytest.approx(best) or point.threshold is None
    for category, counts in [(None, point.total), *zip(CLASSES, point.counts.values())]:
        right, wrong, boxes, _ = loop(records, results, threshold, category)
        assert (counts.hits, counts.found, counts.boxes) == (len(right), len(right) + len(wrong), len(boxes))
        errors = [sum(result['image_id'] == image for result in right + wrong)
                  - sum(record['image_id'] == image for record in boxes) for image in range(4)]
        assert counts.errors.tolist() == errors
        row = counts.to_dict()
        assert row['mean_absolute_count_error'] == np.abs(errors).mean()
        assert abs(row['worst_count_error']) == np.abs(errors).max()
    own = {name: max((value for value in (f1_of(
        [record for record in records if record['category_id'] == category],
        [result for result in results if result['category_id'] == category], result['score'])
        for result in results)), default=0) for category, name in CLASSES.items()}
    assert {name for name, value in point.own.items() if value is None} == {name for name, f1 in own.items() if not f1}


@examples(100)
@given(st.lists(annotations, min_size=1, max_size=12), st.lists(detections, max_size=16))
def test_mistakes_add_up_and_confuse_only_what_is_free(tmp_path_factory, truth, found):
    files = write(tmp_path_factory.mktemp('files'), truth, found)
    point = evaluate(*files[:2]).point
    records, results = files[2:]
    mistakes = Mistakes.of(*files[:2], point)
    right, wrong, boxes, taken = loop(records, results, point.threshold or 0)
    matrix, count = mistakes.matrix, len(CLASSES)
    assert np.trace(matrix) == len(right)
    assert matrix[:count].sum() == len(boxes)  # each box is right, taken for another class, or missed
    assert matrix[:, :count].sum() == len(right) + len(wrong)
    assert mistakes.count('confused') + mistakes.count('missed') == len(boxes) - len(taken)
    for detection, target in mistakes.confused:
        one, other = mistakes.results.anns[detection], mistakes.truth.anns[target]
        assert one['image_id'] == other['image_id']
        assert one['category_id'] != other['category_id']
        assert iou(one['bbox'], other['bbox']) >= 0.5
    free = [record for record in boxes if record['id'] not in taken | {target for _, target in mistakes.confused}]
    for detection in mistakes.extra['id']:  # a detection is extra only if no box is left that it covers
        one = mistakes.results.anns[int(detection)]
        assert not any(one['image_id'] == record['image_id'] and iou(one['bbox'], record['bbox']) >= 0.5
                       for record in free)


def curve(*scores_and_hits, boxes):
    scores, hits = (np.array(column) for column in zip(*scores_and_hits))
    return Curve(scores, np.arange(1, len(scores) + 1), np.cumsum(hits), boxes)


def test_threshold_is_a_short_number_between_two_scores():
    assert curve((0.912, 1), (0.4876, 1), (0.4861, 0), boxes=2).best() == 0.487
    assert curve((0.912, 1), (0.4876, 1), (0.31, 0), boxes=2).best() == 0.4
    assert curve((0.912, 0), (0.1, 0), boxes=2).best() is None
    assert Curve(np.empty(0), np.empty(0, int), np.empty(0, int), 2).best() is None


def test_reaching_chooses_the_most_of_the_other():
    # precision 1, 1/2, 2/3, 3/4, 3/5; recall 1/4, 1/4, 2/4, 3/4, 3/4
    one = curve((0.9, 1), (0.8, 0), (0.7, 1), (0.6, 1), (0.5, 0), boxes=4)
    assert one.reaching(precision=0.95) == 0.85
    assert one.reaching(precision=0.7) == 0.55
    assert one.reaching(recall=0.5) == 0.55
    assert one.reaching(recall=0.25) == 0.85
    with pytest.raises(UserError, match=r'recall-at-least 0\.9: no threshold reaches it; the highest recall is 0\.750'):
        one.reaching(recall=0.9)


def test_choose_says_how(tmp_path):
    files = write(tmp_path, [(0, 3, (0, 0), False)], [(0, 3, (0, 0), 0, 0.9), (0, 3, (30, 0), 0, 0.62)])
    table = evaluate(*files[:2])
    assert OperatingPoint.choose(table.matches, precision=1).to_line().startswith(
        'threshold 0.8 (precision at least 1): precision 1.000, recall 1.000, F1 1.000')
    assert OperatingPoint.choose(table.matches, recall=1).threshold == 0.8
    assert table.point.thresholds == dict(all=0.8, classes=dict(cat=0.8))
    content = json.loads(table.point.to_json())
    assert content['classes']['dog']['precision'] is None
    assert content['all']['F1'] == 1


def test_boxes_without_ids_of_their_own_are_counted(tmp_path):
    files = write(tmp_path, [(0, 3, (0, 0), False), (1, 7, (0, 0), False)],
                  [(0, 3, (0, 0), 0, 0.9), (1, 7, (0, 0), 0, 0.8)])
    content = json.loads(files[0].read_text())
    for ids in ([0, 1], [4, 4]):
        for record, number in zip(content['annotations'], ids):
            record['id'] = number
        files[0].write_text(json.dumps(content))
        assert evaluate(*files[:2]).point.total.hits == 2


def test_to_line_names_classes_without_a_box(tmp_path):
    files = write(tmp_path, [(0, 3, (0, 0), False)], [(0, 3, (0, 0), 0, 0.62), (0, 7, (0, 0), 0, 0.9)])
    line = evaluate(*files[:2]).point.to_line()
    assert line.endswith('1 of the wrong detections are of classes that have no box here: dog')


def test_evaluate_gives_the_same_matches_when_fast(tmp_path):
    files = write(tmp_path, [(image, 3 + 4 * (image % 2), (0, 0), image == 3) for image in range(4)],
                  [(image, category, (0, 0), 4, 0.62) for image in range(4) for category in (3, 7)])
    slow, fast = (evaluate(*files[:2], fast=kind).matches for kind in (False, True))
    assert (slow.detections == fast.detections).all()
    assert (slow.boxes == fast.boxes).all()
    assert len(slow.detections) == 7  # one is in a crowd


def test_steps_have_the_f1_of_each_threshold():
    one = curve((0.9, 1), (0.4, 0), boxes=2)
    assert one.steps == ([0.9, 0.4, 0.], [2 / 3, 1 / 2, 1 / 2])
    assert Curve(np.empty(0), np.empty(0, int), np.empty(0, int), 2).steps == ([0.], [0.])
