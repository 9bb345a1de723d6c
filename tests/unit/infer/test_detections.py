"""Detections in the forms of other programs. A nightly test has the real supervision."""
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ghostdet.errors import PackageError
from tests.label_folders import detections


def test_to_supervision_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(PackageError, match=r'ModuleNotFoundError.*Run pip install supervision$'):
        detections([], ['a'], (9, 9)).to_supervision()


@pytest.mark.parametrize(('boxes', 'names'), [
    ([(1, 0, 0.5, 3, 4), (0, 1, 1, 2, 2)], ['fire truck', 'a']), ([], [])])
def test_to_supervision_passes_arrays(boxes, names, monkeypatch):
    def take(xyxy, confidence, class_id, data):
        return xyxy, confidence, class_id, data
    monkeypatch.setitem(sys.modules, 'supervision', SimpleNamespace(Detections=take))
    found = detections(boxes, ['a', 'fire truck'], (9, 9))
    xyxy, confidence, class_id, data = found.to_supervision()
    assert (xyxy.dtype, xyxy.shape) == (np.float32, (len(boxes), 4))
    assert xyxy.tolist() == [list(corners) for _, *corners in boxes]
    assert (confidence.tolist(), class_id.tolist()) == (found.scores.tolist(), [label for label, *_ in boxes])
    assert data['class_name'].dtype.kind == 'U'
    assert data['class_name'].tolist() == names


def test_to_coco_numbers_categories_from_one_or_as_named():
    found = detections([(1, 0, 0.5, 3, 4)], ['a', 'b'], (9, 9))
    expected = dict(image_id=7, category_id=2, bbox=[0, 0.5, 3, 3.5], score=1)
    assert found.to_coco(7) == [expected]
    assert found.to_coco(7, [10, 30]) == [dict(expected, category_id=30)]
