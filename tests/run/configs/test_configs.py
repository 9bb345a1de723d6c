"""Every config builds, takes a training step and predicts; and the recipe is what it says."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from ghostdet.training.datasets import dataset_of
from ghostdet.training.initial_weights import drop_weights
from tests.conftest import ROOT, nightly

CONFIGS = sorted((ROOT / 'configs').glob('*.py'))


# Of each head and of each backbone one.
BY_DAY = ('retinanet_ghostnet_1.1x_mini', 'faster-rcnn_mobilenetv2_1.0x_mini', 'retinanet_mobilenetv3_1.0x_mini',
          'retinanet_ghostnetv2_1.0x_mini', 'retinanet_ghostnetv3_1.0x_mini', 'retinanet_ghost-resnet-50_mini',
          'nanodet-plus_repghostnet_1.11x_finetune', 'nanodet-plus_shufflenetv2_1.0x_mini', 'yolov3_ghostnet_1.1x_mini',
          'yolox_ghostnet_1.1x_mini', 'rtmdet_ghostnet_1.1x_coco')
assert {*BY_DAY} <= {path.stem for path in CONFIGS}


@pytest.fixture(scope='module', params=[path if path.stem in BY_DAY else nightly(path)[0] for path in CONFIGS],
                ids=lambda path: path.stem)
def cfg(request):
    cfg = Config.fromfile(request.param)
    init_default_scope(cfg.default_scope)
    drop_weights(cfg)
    return cfg


def head_of(model):
    return model.bbox_head if hasattr(model, 'bbox_head') else model.roi_head.bbox_head


def test_builds_steps_and_predicts(cfg):
    model = MODELS.build(cfg.model)
    model.init_weights()
    classes = head_of(model).num_classes
    inputs = demo_mm_inputs(2, [[3, 128, 160], [3, 96, 128]], num_items=[2, 3], num_classes=classes)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.train()
    MessageHub.get_current_instance().update_info('iter', 0)  # YOLOX asks a run how far it is
    loss, _ = model.parse_losses(model(**model.data_preprocessor(inputs, training=True), mode='loss'))
    assert torch.isfinite(loss)
    loss.backward()
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert unused == []  # DDP refuses parameters that get no gradient
    optimizer.step()
    assert any(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    model.eval()
    inputs = demo_mm_inputs(1, [[3, 128, 160]], num_items=[2], num_classes=classes)
    (result,) = model.test_step(inputs)
    boxes = result.pred_instances
    assert boxes.bboxes.shape == (len(boxes.scores), 4)


def test_neck_takes_what_the_backbone_gives(cfg):
    features = MODELS.build(cfg.model.backbone)(torch.randn(2, 3, 64, 96))
    channels = cfg.model.neck.in_channels
    assert [feature.shape[1] for feature in features] == (channels[::-1] if cfg.model.neck.type == 'YOLOV3Neck'
                                                          else channels)
    assert [96 / feature.shape[3] for feature in features] == [4, 8, 16, 32][-len(features):]
    assert len(features) == (3 if cfg.model.type in ('YOLOV3', 'YOLOX', 'RTMDet', 'NanoDetPlus') else 4)


def test_classes_of_heads_and_data_agree(cfg):
    classes = dataset_of(cfg, 'train').get('metainfo', {}).get('classes') or range(80)
    assert head_of(cfg.model).num_classes == len(classes)


def test_learning_rate_follows_the_batch(cfg):
    assert cfg.auto_scale_lr.enable
    batches = dict(YOLOV3=192, YOLOX=64, RTMDet=256, NanoDetPlus=96)  # of mmdet's recipes, on COCO
    small = cfg.get('shapes') or 'finetune' in str(cfg.filename)
    assert cfg.auto_scale_lr.base_batch_size == (16 if small else batches.get(cfg.model.type, 16))


BACKBONES = ('ghostnet_1.1x', 'mobilenetv2_1.0x', 'mobilenetv3_1.0x')
SUCCESSORS = ('repghostnet_1.11x', 'ghostnetv2_1.0x', 'ghostnetv3_1.0x')
MAY_DIFFER = ('model.backbone', 'model.neck.in_channels', 'custom_imports', 'expected')


@cache
def resolved(name):
    return Config.fromfile(CONFIGS[0].parent / f'{name}.py').to_dict()


def leaf(name):
    """A resolved config; of two lists of hooks or steps every entry counts."""
    return deepcopy(resolved(name))


def differences(a, b, path=''):
    """Dotted keys at which two resolved configs differ."""
    if isinstance(a, dict) and isinstance(b, dict) and path not in MAY_DIFFER:
        for key in a.keys() | b.keys():
            yield from differences(a.get(key), b.get(key), f'{path}.{key}'.lstrip('.'))
    elif a != b:
        yield path


@pytest.mark.parametrize('data', ['coco', 'mini'])
@pytest.mark.parametrize('detector', ['retinanet', 'faster-rcnn'])
def test_leaves_of_a_detector_share_one_recipe(detector, data):
    successors = SUCCESSORS if (detector, data) != ('faster-rcnn', 'mini') else ()
    first, *others = [leaf(f'{detector}_{backbone}_{data}') for backbone in (*BACKBONES, *successors)]
    for other in others:
        assert set(differences(first, other)) <= set(MAY_DIFFER)
        assert 'model.backbone' in set(differences(first, other))


def test_the_comparison_of_leaves_sees_a_learning_rate():
    first, other = (leaf(f'retinanet_{backbone}_coco') for backbone in BACKBONES[:2])
    other['optim_wrapper']['optimizer']['lr'] = 0.02
    assert set(differences(first, other)) - set(MAY_DIFFER) == {'optim_wrapper.optimizer.lr'}


@pytest.mark.parametrize('backbone', BACKBONES)
def test_detectors_share_all_but_the_model_and_the_rate(backbone):
    changed = set(differences(*(leaf(f'{detector}_{backbone}_coco') for detector in ('retinanet', 'faster-rcnn'))))
    assert {key for key in changed if not key.startswith('model.')} == {'optim_wrapper.optimizer.lr', 'expected'}
    assert not any(key.startswith('model.backbone') for key in changed)


@pytest.mark.parametrize('detector', ['retinanet', 'faster-rcnn'])
@pytest.mark.parametrize('backbone', BACKBONES)
def test_the_variant_of_the_paper_differs_in_one_word(detector, backbone):
    plain, variant = leaf(f'{detector}_{backbone}_coco'), leaf(f'{detector}_{backbone}_coco_paper-bn')
    assert set(differences(plain, variant)) == {'model.backbone'}
    assert {**plain['model']['backbone'], 'norm_eval': False} == variant['model']['backbone']


def test_recipe_of_the_coco_config():
    cfg = Config.fromfile(CONFIGS[0].parent / 'retinanet_ghostnet_1.1x_coco.py')
    assert Config.fromfile(CONFIGS[0].parent / 'faster-rcnn_ghostnet_1.1x_coco.py').optim_wrapper.optimizer.lr == 0.02
    assert cfg.model.backbone.norm_eval
    assert cfg.model.backbone.get('frozen_stages', -1) == -1
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=35, norm_type=2)
    assert cfg.param_scheduler == [
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
        dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1)]
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.train_cfg.max_epochs == 12
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
    assert next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'Resize').scale == (1333, 800)
    assert cfg.model.data_preprocessor.mean == [123.675, 116.28, 103.53]
    assert cfg.model.data_preprocessor.bgr_to_rgb
    assert cfg.model.neck.out_channels == cfg.model.bbox_head.feat_channels == 256


@pytest.mark.parametrize('detector', ['retinanet', 'faster-rcnn'])
@pytest.mark.parametrize('backbone', BACKBONES)
def test_no_leaf_freezes_more_than_statistics(detector, backbone):
    model = MODELS.build({**leaf(f'{detector}_{backbone}_coco')['model']['backbone'], 'init_cfg': None})
    model.train()
    assert all(parameter.requires_grad for parameter in model.parameters())
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) > 30
    assert not any(norm.training for norm in norms)


def test_leaf_is_a_short_diff():
    for path in CONFIGS:
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith('#')]
        assert len(lines) <= 17, path.name
