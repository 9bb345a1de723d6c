"""The largest number of boxes for an image: in a file's description, and in the results of a prediction."""
import json

import numpy as np
import pytest

from ghostdet.errors import UserError
from ghostdet.infer.batch import Results
from ghostdet.infer.detections import Detections
from ghostdet.infer.manifest import Manifest
from ghostdet.options import valid_thresholds


def detections(count):
    return Detections(np.zeros((count, 4), np.float32), np.linspace(1, 0, count), np.zeros(count, int), ('a',), (9, 9))


@pytest.mark.parametrize(('limit', 'full'), [(100, 2), (99, 3), (200, 0), (None, 0)])
def test_results_count_images_with_as_many_boxes_as_the_detector_returns(limit, full):
    results = Results(limit)
    for count in (100, 3, 99, 100, 0):
        results.add(detections(count), 0)
    assert results.full == full


@pytest.mark.parametrize(('count', 'expected'), [(3, 3), (20, 10), (None, 10)])
def test_best_detections(count, expected):
    best = detections(10).best(count)
    assert best.scores.tolist() == detections(10).scores[:expected].tolist()
    assert len(best.boxes) == len(best.labels) == expected


@pytest.mark.parametrize('threshold', [[0.3, 0.3], [], '0.3', dict(a=0.3), float('nan'), None])
def test_above_refuses_what_is_no_threshold(threshold):
    with pytest.raises(UserError, match='expected a number, or 1, one for each class'):
        detections(3).above(threshold)


@pytest.mark.parametrize('kept', [[0.5], 'x', 0.5, dict(all=None, classes={}), dict(all=5., classes={}), dict(all=0.5),
                                  dict(all=float('nan'), classes={}), dict(all=0.5, classes=[]), None])
def test_valid_thresholds_of_a_file_that_was_changed(kept):
    assert valid_thresholds(kept, ('a',)) is None


def test_valid_thresholds_are_those_of_known_classes():
    assert valid_thresholds(dict(all=0.5, classes=dict(a=0.25, b=0.5)), ('a',)) == dict(all=0.5, classes=dict(a=0.25))
    assert valid_thresholds(dict(all=0.5, classes=dict(a='x')), ('a',)) == dict(all=0.5, classes={})


@pytest.mark.parametrize(('written', 'expected'), [({}, None), (dict(max_objects=225), 225)])
def test_manifest_of_a_file_that_names_no_limit_has_none(written, expected):
    manifest = Manifest('RetinaNet', ('a',), None, (416, 416), True, 32, (0.,) * 3, (1.,) * 3, True, 0.05, 'fp32',
                        'a.py', {})
    content = {key: value for key, value in json.loads(manifest.to_json()).items() if key != 'max_objects'} | written
    assert Manifest.from_json(json.dumps(content), 'a.onnx').max_objects == expected


@pytest.mark.parametrize('tile', [None, (416, 42)])
def test_manifest_keeps_the_tile_and_older_files_have_none(tile):
    manifest = Manifest('RetinaNet', ('a',), None, (416, 416), True, 32, (0.,) * 3, (1.,) * 3, True, 0.05, 'fp32',
                        'a.py', {}, tile=tile)
    content = {key: value for key, value in json.loads(manifest.to_json()).items() if key != 'tile' or tile}
    assert Manifest.from_json(json.dumps(content), 'a.onnx') == manifest
