"""From the maps of a one-stage detector's head to boxes, without PyTorch. For runtimes that run the network alone."""
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import inf, log
from typing import Any

import numpy as np

from ghostdet.images.opencv import cv2

Instances = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (N, 4) in pixels, scores (N,), labels (N,); best first
Maps = Sequence[np.ndarray]  # of all levels: (C, H, W)


@dataclass(frozen=True)
class Decoder:
    """How the maps of a head become boxes.

    Args:
        kind: 'distances' (RTMDet, NanoDet-Plus), 'anchors' (RetinaNet), 'yolox' or 'yolov3'.
        strides: of the levels, in pixels.
        classes: number of classes.
        offset: position of the first point, in strides. For 'distances' and 'yolox'.
        bins: numbers of the distribution of each distance; 0: maps are distances in pixels. For 'distances'.
        anchors: of each level, boxes (A, 4) around the first point. For 'anchors' and 'yolov3'.
        means, stds: of the deltas; `most`: the maximum of the logarithm of a side. For 'anchors'.
        score_threshold, confidence: scores are above it (YOLOX: or equal); minimum objectness, for 'yolov3'.
        candidates: maximum number of candidates of each level; of all levels for 'yolov3'; 0: all.
        overlap: maximum intersection over union of two detections of one class.
        detections: maximum number of detections; 0: all.
        smallest: detections are wider and higher than this; in pixels.
    """

    kind: str
    strides: tuple[int, ...]
    classes: int
    overlap: float
    score_threshold: float = 0.
    offset: float = 0.
    bins: int = 0
    anchors: tuple = ()
    means: tuple[float, ...] = (0., 0., 0., 0.)
    stds: tuple[float, ...] = (1., 1., 1., 1.)
    most: float = 0.
    confidence: float = -1.
    candidates: int = 0
    detections: int = 0
    smallest: float = -1.

    def to_dict(self) -> dict[str, Any]:
        """Return all settings by name, for JSON."""
        return asdict(self)

    def boxes(self, maps: Maps, size: Sequence[int]) -> Instances:
        """Decode maps.

        Args:
            maps: as the head gives them, part by part, each from the first to the last level.
            size: height and width of the image without padding.
        """
        boxes, scores, labels = KINDS[self.kind](self, maps, size)
        keep = (boxes[:, 2:] - boxes[:, :2] > max(self.smallest, -1)).all(axis=1)
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        order = np.argsort(-scores, kind='stable')
        chosen = order[_kept(boxes[order], labels[order], self.overlap, self.detections)]
        return boxes[chosen], scores[chosen], labels[chosen]


def _kept(boxes: np.ndarray, labels: np.ndarray, overlap: float, count: int) -> np.ndarray:
    """Return the indices of boxes that stay after non-maximum suppression within each class; boxes come best first.

    Args:
        count: maximum number of boxes to keep; 0: all.
    """
    size = 8 * count or len(boxes)  # boxes that come later do not change which of these stay
    while len(kept := _suppressed(boxes[:size], labels[:size], overlap)) < count and size < len(boxes):
        size *= 4
    return kept[:count or None]


def _suppressed(boxes: np.ndarray, labels: np.ndarray, overlap: float) -> np.ndarray:
    if not len(boxes):
        return np.zeros(0, int)
    sides = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    ranks = np.linspace(1, 0.5, len(boxes))  # in place of scores, so that equal scores keep their order
    kept = cv2.dnn.NMSBoxesBatched(sides.tolist(), ranks.tolist(), labels.tolist(), 0., overlap)
    return np.sort(np.asarray(kept, int).ravel())


def _by_level(decoder: Decoder, maps: Maps, size: Sequence[int]) -> Instances:
    """Decode 'distances' and 'anchors': scores and sides of each level."""
    count, parts = len(decoder.strides), []
    for level, (score, sides) in enumerate(zip(maps[:count], maps[count:])):
        best, owners, labels = _best(score, decoder)
        decode = _of_anchors if decoder.kind == 'anchors' else _of_distances
        parts.append((decode(decoder, level, score.shape[1:], sides, owners), best, labels))
    boxes, scores, labels = (np.concatenate(part) for part in zip(*parts))
    height, width = size
    return boxes.clip(0, np.float32((width, height, width, height))), scores, labels


def _of_distances(decoder: Decoder, level: int, shape: Sequence[int], distances: np.ndarray,
                  owners: np.ndarray) -> np.ndarray:
    stride, sides = decoder.strides[level], _rows(distances)[owners]
    if decoder.bins:
        sides = _softmax(sides.reshape(-1, decoder.bins)) @ np.arange(decoder.bins, dtype=np.float32)
        sides = sides.reshape(-1, 4) * stride
    at = _points(shape, stride, decoder.offset)[owners]
    return np.concatenate((at - sides[:, :2], at + sides[:, 2:]), axis=1)


def _of_anchors(decoder: Decoder, level: int, shape: Sequence[int], deltas: np.ndarray,
                owners: np.ndarray) -> np.ndarray:
    moved = _rows(deltas).reshape(-1, 4)[owners] * np.float32(decoder.stds) + np.float32(decoder.means)
    centres, sides = _centred(_placed(decoder, level, shape)[owners])
    return _boxes(centres + moved[:, :2] * sides, sides * np.exp(moved[:, 2:].clip(-decoder.most, decoder.most)))


def _yolox(decoder: Decoder, maps: Maps, _: Sequence[int]) -> Instances:
    levels = len(decoder.strides)
    points = np.concatenate([_points(part.shape[1:], stride, decoder.offset)
                             for part, stride in zip(maps, decoder.strides)])
    strides = _stride_of_rows(decoder, [part[0].size for part in maps[:levels]])
    scores, deltas, objectness = (np.concatenate([_rows(part) for part in maps[first:first + levels]])
                                  for first in range(0, 3 * levels, levels))
    labels = scores.argmax(axis=1)
    best = _sigmoid(scores.max(axis=1)) * _sigmoid(objectness[:, 0])
    keep = best >= decoder.score_threshold
    points, deltas, strides = points[keep], deltas[keep], strides[keep]
    return _boxes(points + deltas[:, :2] * strides, np.exp(deltas[:, 2:]) * strides), best[keep], labels[keep]


def _yolov3(decoder: Decoder, maps: Maps, _: Sequence[int]) -> Instances:
    rows = [_rows(part).reshape(-1, 5 + decoder.classes) for part in maps]
    anchors = np.concatenate([_placed(decoder, index, part.shape[1:]) for index, part in enumerate(maps)])
    strides = _stride_of_rows(decoder, [len(row) for row in rows])
    row = np.concatenate(rows)
    objectness = _sigmoid(row[:, 4])
    keep = objectness >= decoder.confidence
    row, anchors, strides, objectness = row[keep], anchors[keep], strides[keep], objectness[keep]
    best, owners, labels = _best(row[:, 5:].T, decoder)  # of a class; what is returned is multiplied by objectness
    (centres, sides), moved = _centred(anchors[owners]), row[owners]
    centres = centres + (_sigmoid(moved[:, :2]) - np.float32(0.5)) * strides[owners]
    return _boxes(centres, sides * np.exp(moved[:, 2:4])), best * objectness[owners], labels


KINDS: dict[str, Callable[[Decoder, Maps, Sequence[int]], Instances]] = dict(
    distances=_by_level, anchors=_by_level, yolox=_yolox, yolov3=_yolov3)


def _rows(part: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H W, C)."""
    return part.reshape(len(part), -1).T


def _points(shape: Sequence[int], stride: int, offset: float) -> np.ndarray:
    """Return the points (H W, 2) of a level, as x and y in pixels."""
    rows, columns = np.meshgrid(*((np.arange(side, dtype=np.float32) + np.float32(offset)) * stride for side in shape),
                                indexing='ij')
    return np.stack((columns.ravel(), rows.ravel()), axis=1)


def _placed(decoder: Decoder, level: int, shape: Sequence[int]) -> np.ndarray:
    """Return the anchors (H W A, 4) of a level."""
    points = np.tile(_points(shape, decoder.strides[level], 0), 2)
    anchors: np.ndarray = np.asarray(decoder.anchors[level], np.float32)
    return (points[:, None] + anchors).reshape(-1, 4)


def _best(logits: np.ndarray, decoder: Decoder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose the scores above the threshold, at most as many as there are candidates.

    Args:
        logits: of a level, (A * classes, ...): A boxes at each point.

    Returns:
        Best first: scores; indices of their boxes, where those of one point are neighbours; labels.
    """
    flat = logits.reshape(len(logits), -1)
    threshold = decoder.score_threshold
    # Few logits pass in a trained network. The exact test follows; a bound that is a little low spares most of the
    # exponentials.
    bound = log(threshold / (1 - threshold)) - 1e-3 if 0 < threshold < 1 else -inf if threshold <= 0 else inf
    channels, points = np.nonzero(flat > bound)
    scores = _sigmoid(flat[channels, points])
    keep = scores > threshold
    if 0 < decoder.candidates < keep.sum():
        keep &= scores >= -np.partition(-scores[keep], decoder.candidates - 1)[decoder.candidates - 1]
    scores, order = scores[keep], points[keep] * len(flat) + channels[keep]
    chosen = np.lexsort((order, -scores))[:decoder.candidates or None]  # equal scores: in the order of points
    return scores[chosen], order[chosen] // decoder.classes, order[chosen] % decoder.classes


def _centred(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return centres (N, 2) and sides (N, 2) of boxes (N, 4)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def _boxes(centres: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return boxes (N, 4) with these centres (N, 2) and sides (N, 2)."""
    return np.concatenate((centres - sides / 2, centres + sides / 2), axis=1)


def _stride_of_rows(decoder: Decoder, counts: Sequence[int]) -> np.ndarray:
    """Return the stride of each row (N, 1), for the number of rows of each level."""
    return np.repeat(np.float32(decoder.strides), counts)[:, None]


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _softmax(values: np.ndarray) -> np.ndarray:
    parts = np.exp(values - values.max(axis=1, keepdims=True))
    return parts / parts.sum(axis=1, keepdims=True)
