"""From the maps of a detector's heads to boxes, with operators that ONNX has."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RetinaHead, RTMDetHead, RTMDetSepBNHead, YOLOV3Head, YOLOXHead
from torch import Tensor, nn
from torchvision.ops import nms

from ghostdet.models.heads.nanodet_plus import NanoDetPlusHead

# (1, anchors * classes, h, w) and (1, anchors * 4, h, w) of each level
Maps = tuple[Sequence[Tensor], Sequence[Tensor]]
# boxes (N, 4) as x1, y1, x2, y2 in pixels; scores (N,); labels or levels (N,)
Instances = tuple[Tensor, Tensor, Tensor]


def top_per_level(head: nn.Module, maps: Maps, count: int, size: Tensor) -> tuple[Tensor, ...]:
    """Return the `count` best pairs of prior and class of each level: boxes (N, 4), scores, labels and levels (N,)."""
    scores, deltas = maps
    priors = head.prior_generator.grid_priors([score.shape[-2:] for score in scores], scores[0].dtype, scores[0].device)
    classes, parts = head.cls_out_channels, []
    for level, (score, delta, prior) in enumerate(zip(scores, deltas, priors)):
        top, indices = _top(to_rows(score).reshape(-1).sigmoid(), count)  # of (H W priors classes,)
        owners = indices // classes
        decoded = head.bbox_coder.decode(prior[owners], to_rows(delta).reshape(-1, 4)[owners])
        parts.append((decoded, top, indices % classes, torch.full_like(indices, level)))
    boxes, *others = (torch.cat(part) for part in zip(*parts))
    return clip(boxes, size), *others


# Of each kind of head: from its maps to all candidates, as boxes (N, 4), scores and labels (N,), and which of them to
# keep (N,).

def _usual(head: nn.Module, maps: Maps, cfg: Any, size: Tensor) -> tuple[Tensor, ...]:
    """RetinaNet, and RTMDet, whose maps are distances in pixels."""
    boxes, scores, labels, _ = top_per_level(head, maps, cfg.nms_pre, size)
    return boxes, scores, labels, scores > cfg.get('score_thr', 0)


def _nanodet(head: NanoDetPlusHead, maps: Maps, cfg: Any, size: Tensor) -> tuple[Tensor, ...]:
    return _usual(head, (maps[0], head.distances(maps[1])), cfg, size)


def _yolox(head: YOLOXHead, maps: Sequence[Sequence[Tensor]], cfg: Any, _: Tensor) -> tuple[Tensor, ...]:
    sizes = [level.shape[-2:] for level in maps[0]]
    points = torch.cat(head.prior_generator.grid_priors(sizes, maps[0][0].dtype, maps[0][0].device, with_stride=True))
    scores, deltas, objectness = (torch.cat([to_rows(level) for level in levels]) for levels in maps)
    best, labels = scores.sigmoid().max(dim=1)
    best = best * objectness[:, 0].sigmoid()
    centres, halves = points[:, :2] + deltas[:, :2] * points[:, 2:], deltas[:, 2:].exp() * points[:, 2:] / 2
    return torch.cat((centres - halves, centres + halves), dim=1), best, labels, best >= cfg.score_thr


def _yolov3(head: YOLOV3Head, maps: tuple[Sequence[Tensor]], cfg: Any, _: Tensor) -> tuple[Tensor, ...]:
    levels = maps[0]
    anchors = head.prior_generator.grid_priors([level.shape[-2:] for level in levels], device=levels[0].device)
    rows = [to_rows(level).reshape(-1, head.num_attrib) for level in levels]
    strides = torch.cat([torch.full_like(row[:, :1], stride) for row, stride in zip(rows, head.featmap_strides)])
    row = torch.cat(rows)
    deltas = torch.cat((row[:, :2].sigmoid(), row[:, 2:4]), dim=1)
    objectness, scores = row[:, 4].sigmoid(), row[:, 5:].sigmoid()
    sure = objectness >= cfg.get('conf_thr', -1)
    best, indices = _top((scores * sure[:, None]).reshape(-1), cfg.get('nms_pre', -1))
    owners = indices // head.num_classes
    boxes = head.bbox_coder.decode(torch.cat(anchors)[owners], deltas[owners], strides[owners])
    return boxes, best * objectness[owners], indices % head.num_classes, best > cfg.get('score_thr', 0)


CANDIDATES: dict[type, Callable[..., tuple[Tensor, ...]]] = {
    RetinaHead: _usual, RTMDetHead: _usual, RTMDetSepBNHead: _usual, NanoDetPlusHead: _nanodet, YOLOXHead: _yolox,
    YOLOV3Head: _yolov3}


def to_rows(level: Tensor) -> Tensor:
    """(1, C, H, W) -> (H W, C)."""
    return level[0].permute(1, 2, 0).reshape(-1, level.shape[1])


def _top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` best scores and their indices; all if `count` is not positive."""
    # sym_min also works with a size that is unknown at export
    top, indices = scores.topk(torch.sym_min(count, scores.shape[0]) if count > 0 else scores.shape[0])
    return top, indices


def clip(boxes: Tensor, size: Tensor) -> Tensor:
    """Clip boxes (N, 4) at the borders of an image; `size` is its height and width."""
    return boxes.clamp(min=0).minimum(size.flip(0).repeat(2).to(boxes))


def is_large(boxes: Tensor, cfg: Any) -> Tensor:
    """Return whether boxes (N, 4) are wider and higher than `min_bbox_size`; all True if the config has none."""
    return (boxes[:, 2:] - boxes[:, :2] > max(cfg.get('min_bbox_size', -1), -1)).all(dim=1)


def nms_per_group(boxes: Tensor, scores: Tensor, groups: Tensor, keep: Tensor, cfg: Any) -> Instances:
    """Run non-maximum suppression per group on the candidates to `keep`; return the best `max_per_img`, best first."""
    indices, span = keep.nonzero().squeeze(1), boxes.max() + 1
    boxes, scores, groups = boxes[indices], scores[indices], groups[indices]
    # Shift each group so that boxes of different groups do not overlap.
    apart = boxes + (groups.to(boxes) * span)[:, None]
    chosen, count = nms(apart, scores, cfg.nms.iou_threshold), cfg.get('max_per_img', -1)
    chosen = chosen[:count] if count > 0 else chosen
    return boxes[chosen], scores[chosen], groups[chosen]
