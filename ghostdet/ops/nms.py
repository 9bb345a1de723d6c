"""Non-maximum suppression (NMS) as mmcv defines it.

mmcv's compiled code compares an IoU in float32 with a threshold in float32, and takes boxes of equal scores in the order of
`scores.sort(descending=True)`. Both are kept here: detections are then the same to the last bit.
"""
import numpy as np
import torch
from torch import Tensor

from ghostdet.ops.precision import at_least_float32
from ghostdet.ops.vision import torchvision

NAIVE, LINEAR = 0, 1  # methods of soft-NMS; the third is gaussian


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes that NMS keeps, the best first.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,).
        iou_threshold: a box goes when its IoU with a better one is above.
        offset: 1 if a box reaches to the end of pixel x2, y2; else 0.
    """
    order = scores.sort(descending=True)[1]
    boxes = at_least_float32(boxes)[order]
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    falling = torch.arange(len(boxes), 0, -1, device=boxes.device, dtype=boxes.dtype)
    return order[torchvision.ops.nms(boxes, falling, float(np.float32(iou_threshold)))]


def softnms(boxes: Tensor, scores: Tensor, dets: Tensor, iou_threshold: float, sigma: float, min_score: float, method: int,
            offset: int) -> Tensor:
    """Soft-NMS (arXiv 1704.04503): better boxes lower the scores of those that they overlap.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,).
        dets: (N, 5), written: the K boxes that are left and their lowered scores, the best first, in its first rows.
        iou_threshold: for the naive and the linear method: from which IoU on a score is lowered.
        sigma: of the gaussian method.
        min_score: a box goes when its score is below.
        method: 0 naive, 1 linear, 2 gaussian.
        offset: 1 if a box reaches to the end of pixel x2, y2; else 0.

    Returns:
        (K,), indices into `boxes` in the order of `dets`.
    """
    boxes, scores = at_least_float32(boxes), at_least_float32(scores).clone()
    indices = torch.arange(len(boxes))
    end = len(boxes)
    for i in range(len(boxes)):
        if i >= end:
            break
        best = i + int(scores[i:end].argmax())
        for values in (scores, indices):
            values[[i, best]] = values[[best, i]]
        rest = slice(i + 1, end)
        iou = _iou(boxes[indices[i]], boxes[indices[rest]], offset)
        scores[rest] *= _weight(iou, iou_threshold, sigma, method)
        alive = ~(scores[rest] < min_score)
        _close_gaps(alive, scores[rest], indices[rest])
        end = i + 1 + int(alive.sum())
    dets[:end, :4], dets[:end, 4] = boxes[indices[:end]], scores[:end]
    return indices[:end]


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group the boxes: a box that NMS keeps, then the boxes that it suppresses, the highest score first.

    Args:
        dets: (N, 5), x1 y1 x2 y2 in pixels and a score.
        iou_threshold: a box goes to a better one's group from this IoU on.
    """
    boxes = at_least_float32(dets[:, :4])
    left = dets[:, 4].sort(descending=True)[1]
    groups = []
    while len(left):
        matched = _iou(boxes[left[0]], boxes[left], 0) >= iou_threshold
        matched[0] = True  # also a box without area, whose IoU with itself is NaN
        groups.append(left[matched].tolist())
        left = left[~matched]
    return groups


def _weight(iou: Tensor, threshold: float, sigma: float, method: int) -> Tensor:
    """What soft-NMS multiplies scores with."""
    if method not in (NAIVE, LINEAR):
        return torch.exp(-iou.square() / sigma)
    return torch.where(iou >= threshold, 0 if method == NAIVE else 1 - iou, 1)


def _close_gaps(alive: Tensor, *columns: Tensor) -> None:
    """Move what is alive to the front, in place.

    The last live entry fills the first gap, as in mmcv. The order matters: of equal scores, soft-NMS takes the first one.
    """
    count = int(alive.sum())
    gaps = (~alive[:count]).nonzero().flatten()
    fillers = count + alive[count:].nonzero().flatten().flip(0)
    for values in columns:
        values[gaps] = values[fillers]


def _iou(box: Tensor, boxes: Tensor, offset: int) -> Tensor:
    """IoU of `box`, (4,), and each of `boxes`, (N, 4); NaN where both have no area."""
    def area(corners: Tensor) -> Tensor:
        return (corners[..., 2] - corners[..., 0] + offset) * (corners[..., 3] - corners[..., 1] + offset)

    sides = torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2]) + offset
    shared = sides.clamp(min=0).prod(1)
    return shared / (area(box) + area(boxes) - shared)
