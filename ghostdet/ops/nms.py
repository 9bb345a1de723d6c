"""Non-maximum suppression (NMS) as mmcv defines it.

mmcv's compiled code compares IoU and threshold in float32, and takes boxes with equal scores in the order of
`scores.sort(descending=True)`. This file does the same, so detections are identical to the last bit.
"""
import numpy as np
import torch
from torch import Tensor

from ghostdet.ops.precision import at_least_float32
from ghostdet.ops.vision import torchvision

NAIVE, LINEAR = 0, 1  # methods of soft-NMS; the third is gaussian


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes that NMS keeps, best first.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,).
        iou_threshold: a box is removed if its IoU with a better box is above this.
        offset: 1 if a box reaches to the end of pixel x2, y2; else 0.
    """
    order = scores.sort(descending=True)[1]
    boxes = at_least_float32(boxes)[order]
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    falling = torch.arange(len(boxes), 0, -1, device=boxes.device, dtype=boxes.dtype)
    return order[torchvision.ops.nms(boxes, falling, float(np.float32(iou_threshold)))]


def softnms(boxes: Tensor, scores: Tensor, dets: Tensor, iou_threshold: float, sigma: float, min_score: float,
            method: int, offset: int) -> Tensor:
    """Run soft-NMS (arXiv 1704.04503): a better box lowers the scores of the boxes that it overlaps.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,).
        dets: (N, 5), written: the first K rows get the kept boxes and their lowered scores, best first.
        iou_threshold: lowest IoU that lowers a score; naive and linear method only.
        sigma: width of the Gaussian; gaussian method only.
        min_score: a box is removed if its score is below this.
        method: 0 naive, 1 linear, 2 gaussian.
        offset: 1 if a box reaches to the end of pixel x2, y2; else 0.

    Returns:
        (K,), indices into `boxes`, in the order of `dets`.
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
    """Group the boxes: each group holds a box that NMS keeps, then the boxes that it suppresses, highest score first.

    Args:
        dets: (N, 5), x1 y1 x2 y2 in pixels and a score.
        iou_threshold: a box joins the group of a better box if their IoU is at least this.
    """
    boxes = at_least_float32(dets[:, :4])
    left = dets[:, 4].sort(descending=True)[1]
    groups = []
    while len(left):
        matched = _iou(boxes[left[0]], boxes[left], 0) >= iou_threshold
        matched[0] = True  # needed for a box without area: its IoU with itself is NaN
        groups.append(left[matched].tolist())
        left = left[~matched]
    return groups


def _weight(iou: Tensor, threshold: float, sigma: float, method: int) -> Tensor:
    """Return the factor that soft-NMS multiplies scores by."""
    if method not in (NAIVE, LINEAR):
        return torch.exp(-iou.square() / sigma)
    return torch.where(iou >= threshold, 0 if method == NAIVE else 1 - iou, 1)


def _close_gaps(alive: Tensor, *columns: Tensor) -> None:
    """Move the entries marked in `alive` to the front, in place.

    The last of them fills the first gap, as in mmcv. The order matters: of equal scores, soft-NMS takes the first.
    """
    count = int(alive.sum())
    gaps = (~alive[:count]).nonzero().flatten()
    fillers = count + alive[count:].nonzero().flatten().flip(0)
    for values in columns:
        values[gaps] = values[fillers]


def _iou(box: Tensor, boxes: Tensor, offset: int) -> Tensor:
    """Return the IoU (N,) of `box`, (4,), and each of `boxes`, (N, 4). It is NaN if both have no area."""
    def area(corners: Tensor) -> Tensor:
        return (corners[..., 2] - corners[..., 0] + offset) * (corners[..., 3] - corners[..., 1] + offset)

    sides = torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2]) + offset
    shared = sides.clamp(min=0).prod(1)
    return shared / (area(box) + area(boxes) - shared)
