"""The table is pycocotools' own, and its renderings say the same."""
import contextlib
import io
import json
import math

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ghostdet.evaluation.coco_table import METRICS, evaluate


@pytest.fixture
def files(tmp_path):
    """Four images with a box of each class, found exactly, roughly, with the wrong class, and not at all."""
    categories = [dict(id=3, name='cat'), dict(id=7, name='dog'), dict(id=9, name='never there')]
    truth = [dict(id=2 * i + k + 1, image_id=i, category_id=(3, 7)[k], bbox=[10 + 50 * k, 10, 20 + 20 * k, 40],
                  iscrowd=0, area=(20 + 20 * k) * 40) for i in range(4) for k in range(2)]
    result = [dict(image_id=0, category_id=3, bbox=[10, 10, 20, 40], score=0.9),
             dict(image_id=1, category_id=3, bbox=[12, 10, 20, 42], score=0.8),
             dict(image_id=2, category_id=7, bbox=[10, 10, 20, 40], score=0.7),
             dict(image_id=0, category_id=7, bbox=[60, 10, 40, 40], score=0.6)]
    annotations = tmp_path / 'truth.json'
    images = [dict(id=i, file_name=f'{i}.png', width=128, height=128) for i in range(4)]
    annotations.write_text(json.dumps(dict(images=images, annotations=truth, categories=categories)))
    detections = tmp_path / 'detections.bbox.json'
    detections.write_text(json.dumps(result))
    return annotations, detections


def test_numbers_are_those_of_pycocotools(files):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(files[0]))
        evaluation = COCOeval(truth, truth.loadRes(str(files[1])), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    table = evaluate(*files)
    assert list(table.metrics) == list(METRICS)
    for ours, theirs in zip(table.metrics.values(), evaluation.stats):
        assert (math.isnan(ours) and theirs == -1) or ours == pytest.approx(theirs, abs=1e-9)
    assert table.metrics['AP50'] == pytest.approx((table.classes['cat']['AP50'] + table.classes['dog']['AP50']) / 2)
    assert math.isnan(table.classes['never there']['AP'])


def test_chosen_classes_alone_are_counted(files):
    assert list(evaluate(*files, classes=('cat',)).classes) == ['cat']
    assert evaluate(*files, classes=('cat',)).metrics['AP'] == pytest.approx(evaluate(*files).classes['cat']['AP'])


def test_no_detections_are_no_error(files):
    files[1].write_text('[]')
    assert evaluate(*files).metrics['AP'] == 0


def test_renderings_agree(files):
    table = evaluate(*files)
    content = json.loads(table.to_json())
    assert content['metrics']['AP'] == table.metrics['AP']
    assert content['classes']['never there']['AP'] is None
    for rendering in (table.to_text(), table.to_markdown()):
        assert f'{table.metrics["AP"]:.3f}' in rendering
        assert f'{table.classes["dog"]["AP50"]:.3f}' in rendering


def test_max_objects_counts_all_of_a_crowded_image(tmp_path):
    """Perfect detections of 4 images with 15 x 15 discs: COCO's AP counts 100 of the 225 in each."""
    boxes = [dict(image_id=image, category_id=1, bbox=[20 * x, 20 * y, 15, 15])
             for image in range(4) for x in range(15) for y in range(15)]
    files = [tmp_path / 'truth.json', tmp_path / 'found.json']
    files[0].write_text(json.dumps(dict(
        images=[dict(id=image, file_name=f'{image}.png', width=300, height=300) for image in range(4)],
        categories=[dict(id=1, name='disc')],
        annotations=[dict(box, id=number, area=225, iscrowd=0) for number, box in enumerate(boxes, 1)])))
    files[1].write_text(json.dumps([dict(box, score=0.9) for box in boxes]))
    usual, all_ = evaluate(*files), evaluate(*files, max_objects=225)
    assert usual.metrics['AP'] == all_.metrics['AP'] == pytest.approx(0.4455, abs=1e-4)  # 45 of 101 recalls, 4 / 9
    assert all_.at_limit['AP'] == pytest.approx(1)
    assert all_.at_limit['AR_225'] == 1
    assert 'all, 225 an image  1.000' in all_.to_text()
    assert json.loads(all_.to_json())['metrics_at_max_objects']['AP50'] == pytest.approx(1)
    assert (usual.point.total.hits, all_.point.total.hits) == (400, 900)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(files[0]))
        evaluation = COCOeval(truth, truth.loadRes(str(files[1])), 'bbox')
        evaluation.params.maxDets = [225]
        evaluation.evaluate()
        evaluation.accumulate()
    assert all_.at_limit['AP'] == pytest.approx(evaluation.eval['precision'][:, :, 0, 0, 0].mean())
