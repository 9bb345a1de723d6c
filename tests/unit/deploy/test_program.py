"""Which candidates of a head's maps are decoded."""
import torch
from mmdet.registry import MODELS

from ghostdet.deploy.postprocess import top_per_level


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
