"""Thresholds that keep only some classes."""
import math

import numpy as np
import pytest

from ghostdet import Detector
from ghostdet.errors import UserError
from ghostdet.infer.detections import Detections

CLASSES = ('RBC', 'WBC', 'Platelets', 'fire truck')


@pytest.fixture
def detector():
    """Without a network."""
    made = object.__new__(Detector)
    made.model, made.classes, made.threshold = 'd.xml', CLASSES, 0.25
    return made


@pytest.mark.parametrize(('threshold', 'expected'), [
    (None, [math.inf, 0.25, math.inf, 0.25]), (0.5, [math.inf, 0.5, math.inf, 0.5]), (0, [math.inf, 0, math.inf, 0]),
    ([0.1, 0.2, 0.3, 0.4], [math.inf, 0.2, math.inf, 0.4])])
def test_thresholds_for_keeps_the_named_classes(detector, threshold, expected):
    limits = detector.thresholds_for(['fire truck', 'WBC'], threshold)
    assert limits == expected
    found = Detections(np.zeros((4, 4), np.float32), np.ones(4, np.float32), np.arange(4), CLASSES, (9, 9))
    assert found.above(limits).names == ['WBC', 'fire truck']


@pytest.mark.parametrize(('name', 'words'), [
    ('rbc', "d.xml has no class 'rbc'. It has 4 classes, close ones are RBC, WBC"), ('platelet', 'are Platelets'),
    ('dog', 'It has 4 classes: RBC, WBC, Platelets, fire truck'), ('', "no class ''"),
    ('RBC,WBC', 'are RBC, WBC. Give each name by itself')])
def test_thresholds_for_names_close_classes(detector, name, words):
    with pytest.raises(UserError) as error:
        detector.thresholds_for(['WBC', name])
    assert words in str(error.value)


def test_thresholds_for_leaves_a_wrong_number_to_above(detector):
    empty = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), CLASSES, (9, 9))
    with pytest.raises(UserError, match='expected a number, or 4'):
        empty.above(detector.thresholds_for(['WBC'], [0.5]))
