"""Which candidates of a head's maps are decoded, and how many boxes come out."""
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from ghostdet.deploy.ncnn_writer import decoder_of
from ghostdet.deploy.postprocess import nms_per_group, top_per_level
from ghostdet.deploy.program import OneStageProgram
from ghostdet.training.config_file import read_config
from ghostdet.training.max_objects import set_max_objects


def test_per_level_takes_exactly_the_best_candidates_of_each_level():
    head = MODELS.build(dict(type='mmdet.RetinaHead', num_classes=3, in_channels=4, feat_channels=4,
                             anchor_generator=dict(
        type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0], strides=[8, 16])))
    sizes = [(4, 5), (2, 3)]
    scores = [torch.randperm(3 * h * w).float().reshape(1, 3, h, w) / 20 for h, w in sizes]  # all of them differ
    deltas = [torch.zeros(1, 4, h, w) for h, w in sizes]
    for limit, counts in ((7, [7, 7]), (40, [40, 18]), (-1, [60, 18])):
        boxes, top, labels, levels = top_per_level(head, (scores, deltas), limit, torch.tensor([32, 40]))
        assert [(levels == level).sum() for level in range(2)] == counts
        for level, (score, count) in enumerate(zip(scores, counts)):
            best, indices = score[0].permute(1, 2, 0).flatten().sort(descending=True)
            assert torch.equal(top[levels == level], best[:count].sigmoid())
            assert torch.equal(labels[levels == level], indices[:count] % 3)
            prior = head.prior_generator.grid_priors(sizes, device='cpu')[level][indices[:count] // 3]
            assert torch.equal(boxes[levels == level], prior.clamp(min=0).minimum(torch.tensor([40., 32, 40, 32])))


@pytest.mark.parametrize(('name', 'channels'), [
    ('retinanet_ghostnet_1.1x_finetune', 64), ('nanodet-plus_shufflenetv2_1.0x_finetune', 96),
    ('rtmdet_tiny_finetune', 96), ('yolov3_ghostnet_1.1x_mini', 48), ('yolox_tiny_finetune', 96)])
def test_as_many_boxes_come_out_as_max_objects_says(name, channels):
    """Of PyTorch, and of NumPy, which decodes ncnn's maps. YOLOX gives all."""
    cfg = read_config(name, {'model.bbox_head.num_classes': 80})
    set_max_objects(cfg, 225)
    init_default_scope('mmdet')
    model = SimpleNamespace(
        data_preprocessor=MODELS.build({**cfg.model.data_preprocessor, 'batch_augments': None}),
        backbone=torch.nn.Identity(), neck=torch.nn.Identity(),
        bbox_head=MODELS.build({**cfg.model.bbox_head, 'test_cfg': cfg.model.test_cfg}))
    program = OneStageProgram(model)
    strides = [stride[0] for stride in program.head.prior_generator.strides]
    with torch.no_grad():
        maps = program.head([torch.randn(1, channels, 256 // stride, 256 // stride)
                             for stride in strides])
        maps = ([torch.randn_like(level) for level in maps[0]], *maps[1:])
        boxes, _, _ = program.boxes(maps, torch.tensor([256, 256]))
    decoder = decoder_of(program)
    decoded, _, _ = decoder.boxes([level[0].numpy() for part in maps for level in part], (256, 256))
    if name.startswith('yolox'):
        assert (decoder.detections, len(boxes) > 225, len(decoded)) == (0, True, len(boxes))
    else:
        assert (len(boxes), len(decoded)) == (225, 225)


def test_as_many_boxes_of_the_second_stage_come_out_as_max_objects_says():
    cfg = read_config('faster-rcnn_ghostnet_1.1x_mini', {})
    set_max_objects(cfg, 225)
    corners = torch.arange(300.)[:, None] * torch.tensor([10., 0, 10, 0])
    boxes, scores, groups = corners + torch.tensor([0., 0, 8, 8]), torch.rand(300), torch.zeros(300, dtype=torch.long)
    for part in (cfg.model.test_cfg.rcnn, cfg.model.test_cfg.rpn):
        assert len(nms_per_group(boxes, scores, groups, scores >= 0, part)[0]) == 225
