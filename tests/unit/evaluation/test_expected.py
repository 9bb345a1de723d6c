"""The AP that a config expects."""
import math

import pytest
from mmengine.config import Config

from ghostdet.errors import UserError
from ghostdet.evaluation.expected import Expected, expected_of


@pytest.mark.parametrize(('measured', 'verdict'), [
    (0.2609, 'below'), (0.261, 'within'), (0.266, 'within'), (0.271, 'within'), (0.2711, 'above'), (math.nan, 'below')])
def test_ends_of_the_tolerance_are_within(measured, verdict):
    expected = Expected(0.266, 0.005)
    assert expected.verdict(measured) == verdict
    assert f', {verdict} the tolerance of 0.0050' in expected.to_text(measured)
    if verdict == 'below':
        with pytest.raises(UserError, match=r'so 0\.2610 or more'):
            expected.check(measured)
    else:
        expected.check(measured)


def test_what_a_config_says_is_read():
    assert expected_of(Config(dict(expected=dict(bbox_mAP=0.266, tolerance=0)))) == Expected(0.266, 0)
    with_source = dict(bbox_mAP=0.266, tolerance=0, source='a paper')
    assert expected_of(Config(dict(expected=with_source))) == Expected(0.266, 0, 'a paper')


@pytest.mark.parametrize('expected', [
    0.266, {}, dict(bbox_mAP=0.266), dict(bbox_mAP=26.6, tolerance=0.5), dict(bbox_mAP='0.266', tolerance=0.005),
    dict(bbox_mAP=0.266, tolerance=-0.005), dict(bbox_mAP=0.266, tolerance=math.nan),
    dict(bbox_mAP=True, tolerance=0.005), dict(bbox_mAP=0.266, tolerance=None),
    dict(bbox_mAP=0.266, tolerance=0.005, source=9), dict(bbox_mAP=0.266, tolerance=0.005, bbox_mAP_50=0.4)], ids=str)
def test_other_forms_are_refused(expected):
    with pytest.raises(UserError, match=r'needs expected = dict\(bbox_mAP=0.266, tolerance=0.005\)'):
        expected_of(Config(dict(expected=expected)))


@pytest.mark.parametrize('content', [{}, dict(expected=None)], ids=str)
def test_none_is_refused(content):
    with pytest.raises(UserError, match='the config has none'):
        expected_of(Config(content))
