"""Every config builds, takes a training step and predicts; and the recipe is what it says."""
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from ghostdet.engine.weights import drop_weights

CONFIGS = sorted((Path(__file__).parent.parent.parent / 'configs').glob('*.py'))


@pytest.fixture(scope='module', params=CONFIGS, ids=lambda path: path.stem)
def cfg(request):
    cfg = Config.fromfile(request.param)
    init_default_scope(cfg.default_scope)
    drop_weights(cfg)
    return cfg


def test_builds_steps_and_predicts(cfg):
    model = MODELS.build(cfg.model)
    model.init_weights()
    classes = model.bbox_head.num_classes if hasattr(model, 'bbox_head') else model.roi_head.bbox_head.num_classes
    inputs = demo_mm_inputs(2, [[3, 128, 160], [3, 96, 128]], num_items=[2, 3], num_classes=classes)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.train()
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
    assert tuple(cfg.model.neck.in_channels) == MODELS.build(cfg.model.backbone).out_channels


def test_classes_of_heads_and_data_agree(cfg):
    dataset = cfg.train_dataloader.dataset
    classes = dataset.get('metainfo', {}).get('classes') or range(80)
    assert cfg.model.bbox_head.num_classes == len(classes)


def test_learning_rate_follows_the_batch(cfg):
    assert cfg.auto_scale_lr.enable
    assert cfg.auto_scale_lr.base_batch_size == 16


def test_recipe_of_the_coco_config():
    cfg = Config.fromfile(CONFIGS[0].parent / 'retinanet_ghostnet_1.1x_coco.py')
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.train_cfg.max_epochs == 12
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
    assert next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'Resize').scale == (1333, 800)
    assert cfg.model.data_preprocessor.mean == [123.675, 116.28, 103.53]
    assert cfg.model.data_preprocessor.bgr_to_rgb
    assert cfg.model.neck.out_channels == cfg.model.bbox_head.feat_channels == 256


def test_leaf_is_a_short_diff():
    for path in CONFIGS:
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith('#')]
        assert len(lines) <= 16, path.name
