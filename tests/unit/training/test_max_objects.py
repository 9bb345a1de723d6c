"""`--max-objects`: how many boxes a detector returns for an image."""
from copy import deepcopy

import pytest

from ghostdet.errors import UserError
from ghostdet.evaluation.metrics import choose_metric
from ghostdet.training.config_file import read_config
from ghostdet.training.max_objects import max_objects_of, set_max_objects
from tests.conftest import by_day
from tests.unit.training.test_image_scale import NAMES


@pytest.mark.parametrize('name', by_day(8, [name for name in NAMES if not name.startswith('yolox')]))
def test_set_max_objects_of_each_config(name):
    original = read_config(name, {})
    for count in (20, 225, 2500):
        cfg = deepcopy(original)
        set_max_objects(cfg, count)
        assert max_objects_of(cfg) == count
        after, before = cfg.model.test_cfg, original.model.test_cfg
        if 'rpn' in after:
            assert after.rcnn == {**before.rcnn, 'max_per_img': count}
            assert after.rpn == {**before.rpn, 'nms_pre': max(before.rpn.nms_pre, count),
                                 'max_per_img': max(before.rpn.max_per_img, count)}
        else:
            assert after == {**before, 'max_per_img': count, 'nms_pre': max(before.nms_pre, count)}


def test_set_max_objects_of_yolox_which_returns_all_boxes(capsys):
    cfg = read_config('yolox_tiny_finetune', {})
    before = deepcopy(cfg.model.test_cfg)
    choose_metric(cfg.val_evaluator, 'val_evaluator', False)
    set_max_objects(cfg, 200)
    assert cfg.model.test_cfg == before
    assert max_objects_of(cfg) is None
    assert cfg.val_evaluator.max_objects == 200
    assert 'returns all boxes above its score threshold; 200 of an image are evaluated' in capsys.readouterr().err


@pytest.mark.parametrize('test_cfg', [dict(max_per_img=-1, nms_pre=-1), dict(nms_pre=1000), dict(max_per_img=None)])
def test_set_max_objects_of_no_limit(test_cfg):
    cfg = read_config('nanodet-plus_shufflenetv2_1.0x_finetune', {})
    cfg.model.test_cfg = dict(test_cfg)
    set_max_objects(cfg, 200)
    assert cfg.model.test_cfg == test_cfg
    assert max_objects_of(cfg) is None


def test_set_max_objects_of_centernet_takes_as_many_points_of_its_heat_map():
    cfg = read_config('nanodet-plus_shufflenetv2_1.0x_finetune', {})
    cfg.model.test_cfg = dict(topk=100, local_maximum_kernel=3, max_per_img=100)
    set_max_objects(cfg, 300)
    assert cfg.model.test_cfg == dict(topk=300, local_maximum_kernel=3, max_per_img=300)


def test_set_max_objects_leaves_the_stock_metric():
    cfg = read_config('nanodet-plus_shufflenetv2_1.0x_finetune', {'val_evaluator.classwise': True})
    choose_metric(cfg.val_evaluator, 'val_evaluator', False)
    set_max_objects(cfg, 200)
    assert cfg.val_evaluator.type == 'CocoMetric'
    assert 'max_objects' not in cfg.val_evaluator


def test_choose_metric_keeps_the_limit_of_a_saved_config():
    evaluator = dict(type='CocoTableMetric', ann_file='a.json', max_objects=200)
    choose_metric(evaluator, 'val_evaluator', False)
    assert evaluator == dict(type='CocoTableMetric', ann_file='a.json', max_objects=200)
    evaluator['metric'] = ['bbox', 'proposal']  # mmdet's own metric takes no such option
    choose_metric(evaluator, 'val_evaluator', False)
    assert evaluator == dict(type='CocoMetric', ann_file='a.json', metric=['bbox', 'proposal'])


def test_set_max_objects_refuses_none():
    with pytest.raises(UserError, match='--max-objects 0: expected at least 1'):
        set_max_objects(read_config('nanodet-plus_shufflenetv2_1.0x_finetune', {}), 0)
