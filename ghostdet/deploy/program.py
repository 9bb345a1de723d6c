"""A detector as one exportable module, from pixels to boxes.

No exporter can follow the data structures and branches in mmdet's `predict`. These modules run the same backbone, neck
and heads with the same weights. They do the post-processing with operators that ONNX has.
"""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RetinaHead, RPNHead, RTMDetHead, RTMDetSepBNHead, YOLOV3Head, YOLOXHead
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder, DistancePointBBoxCoder
from torch import Tensor, nn
from torchvision.ops import nms, roi_align

from ghostdet.models.heads.nanodet_plus import NanoDetPlusHead

# (1, anchors * classes, h, w) and (1, anchors * 4, h, w) of each level
Maps = tuple[Sequence[Tensor], Sequence[Tensor]]
Boxes = tuple[Tensor, Tensor, Tensor]  # (N, 4) as x1, y1, x2, y2 in pixels; scores (N,); labels or levels (N,)


class UnsupportedError(ValueError):
    """A detector type or setting cannot be exported; the message names it."""


class Pixels(nn.Module):
    """mmdet's data preprocessor: channel order, normalisation, and zeros outside the image."""

    def __init__(self, preprocessor: nn.Module) -> None:
        super().__init__()
        _need(preprocessor.pad_value == 0,
              f'data_preprocessor.pad_value={preprocessor.pad_value} (only 0 is supported)')
        count = preprocessor.mean.numel() if preprocessor._enable_normalize else 3
        _need(count == 3, f'images of {count} channels (only 3 channels are supported)')
        self.is_rgb = bool(preprocessor._channel_conversion)  # mmdet's images are BGR, and the program's are RGB
        self.register_buffer('mean',
                             preprocessor.mean.clone() if preprocessor._enable_normalize else torch.zeros(3, 1, 1))
        self.register_buffer('std', preprocessor.std.clone() if preprocessor._enable_normalize else torch.ones(3, 1, 1))

    def forward(self, image: Tensor, size: Tensor) -> Tensor:
        """RGB pixels (N, H, W, 3) from 0 to 255, heights and widths without padding (N, 2) or (2,) -> (N, 3, H, W)."""
        x = image.permute(0, 3, 1, 2).float()
        x = (x if self.is_rgb else x.flip(1)).sub(self.mean).div(self.std)
        rows, columns = (torch.arange(side, device=x.device) for side in x.shape[-2:])
        inside = (rows < size[..., :1])[..., :, None] & (columns < size[..., 1:])[..., None, :]
        return x * inside.unsqueeze(-3)


class DetectorProgram(nn.Module):
    """A detector: (1, H, W, 3) uint8 RGB and (2,) int64 -> boxes (M, 4), scores (M,), labels (M,).

    H and W are multiples of 32. N images: (N, H, W, 3) and (N, 2) -> boxes, scores and labels of one image after the
    other, and the index of the image of each box (M,).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.pixels, self.backbone, self.neck = Pixels(model.data_preprocessor), model.backbone, model.neck

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Boxes in pixels of the padded image, best first."""
        maps = self.maps(image, size)
        if size.dim() == 1:
            return self.boxes(maps, size)
        found = [self.boxes(_of_image(maps, index), own) for index, own in enumerate(size.unbind())]
        owners = [torch.full_like(labels, index) for index, (_, _, labels) in enumerate(found)]
        return *(torch.cat(parts) for parts in zip(*found)), torch.cat(owners)

    def maps(self, image: Tensor, size: Tensor) -> Any:
        """Run the network: tensors of all images, whose first dimension is the image, in tuples and lists."""
        raise NotImplementedError

    def boxes(self, maps: Any, size: Tensor) -> Boxes:
        """Decode the maps of one image, best first; `size` (2,) is its height and width without padding."""
        raise NotImplementedError

    def features(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Pixels (N, H, W, 3), heights and widths (N, 2) or (2,) -> the neck's features, one tensor per level."""
        return self.neck(self.backbone(self.pixels(image, size)))


class OneStageProgram(DetectorProgram):
    """A one-stage detector."""

    def __init__(self, model: SingleStageDetector) -> None:
        super().__init__(model)
        self.head, self.cfg = model.bbox_head, model.bbox_head.test_cfg
        _check_head(self.head)
        _check_nms(self.cfg)
        self.candidates = CANDIDATES[type(self.head)]

    def maps(self, image: Tensor, size: Tensor) -> Maps:
        """Return the maps of the head."""
        return self.head(self.features(image, size))

    def boxes(self, maps: Maps, size: Tensor) -> Boxes:
        """Decode the head's maps of all levels."""
        boxes, scores, labels, keep = self.candidates(self.head, maps, self.cfg, size)
        return _best(boxes, scores, labels, keep & _is_large(boxes, self.cfg), self.cfg)


class FasterRCNNProgram(DetectorProgram):
    """Faster R-CNN."""

    def __init__(self, model: TwoStageDetector) -> None:
        super().__init__(model)
        self.rpn, self.rpn_cfg = model.rpn_head, model.rpn_head.test_cfg
        self.roi, self.cfg = model.roi_head, model.roi_head.test_cfg
        _check_anchors(self.rpn, RPNHead)
        _check_nms(self.rpn_cfg)
        _check_nms(self.cfg)
        _check_rois(self.roi)

    def maps(self, image: Tensor, size: Tensor) -> tuple[tuple[Tensor, ...], Maps]:
        """Return the neck's features and the maps of the RPN."""
        features = self.features(image, size)
        return features, self.rpn(features)

    def boxes(self, maps: tuple[tuple[Tensor, ...], Maps], size: Tensor) -> Boxes:
        """Find proposals in the RPN's maps, then detections in the features."""
        features, found = maps
        return self.second(features, self.proposals(found, size), size)

    def proposals(self, maps: Maps, size: Tensor) -> Tensor:
        """Decode the RPN's maps of all levels: proposals (N, 4), best first."""
        boxes, scores, _, levels = _per_level(self.rpn, maps, self.rpn_cfg.nms_pre, size)
        return _best(boxes, scores, levels, _is_large(boxes, self.rpn_cfg), self.rpn_cfg)[0]

    def second(self, features: tuple[Tensor, ...], proposals: Tensor, size: Tensor) -> Boxes:
        """Return the best detections in the proposals, best first, after score threshold and non-maximum suppression.

        Args:
            features: maps of the neck, one tensor per level.
            proposals: (N, 4), x1 y1 x2 y2 in pixels.
            size: (2,), height and width of the image without padding.
        """
        rois, maps = self._extract(features, proposals)
        head = self.roi.bbox_head
        if self.roi.with_shared_head:
            maps = self.roi.shared_head(maps)
        logits, deltas = head(maps)
        scores = logits.softmax(-1)[:, :-1]  # (N, classes)
        classes = scores.shape[1]
        boxes = rois[:, None].expand(-1, 1 if head.reg_class_agnostic else classes, 4).reshape(-1, 4)
        boxes = _clipped(head.bbox_coder.decode(boxes, deltas.reshape(-1, 4)), size)
        boxes = boxes.reshape(-1, deltas.shape[1] // 4, 4).expand(-1, classes, 4).reshape(-1, 4)
        labels = torch.arange(classes, device=rois.device)[None].expand(scores.shape[0], classes)
        return _best(boxes, scores.reshape(-1), labels.reshape(-1), scores.reshape(-1) > self.cfg.score_thr, self.cfg)

    def _extract(self, features: tuple[Tensor, ...], proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Return the proposals, ordered by level, and their RoI features (N, C, h, w)."""
        extractor = self.roi.bbox_roi_extractor
        zeros = torch.zeros_like(proposals[:, :1])
        levels = extractor.map_roi_levels(torch.cat((zeros, proposals), dim=1), extractor.num_inputs)
        boxes, maps = [], []
        for index, (layer, feature) in enumerate(zip(extractor.roi_layers, features)):
            own = proposals[(levels == index).nonzero().squeeze(1)]
            boxes.append(own)
            rois = torch.cat((torch.zeros_like(own[:, :1]), own), dim=1)
            maps.append(roi_align(feature, rois, layer.output_size, layer.spatial_scale, layer.sampling_ratio,
                                  layer.aligned))
        return torch.cat(boxes), torch.cat(maps)


def _of_image(maps: Any, index: int) -> Any:
    """Return the part of one image, with a first dimension of 1, of tensors in tuples and lists."""
    return maps[index:index + 1] if isinstance(maps, Tensor) else tuple(_of_image(part, index) for part in maps)


def program_of(model: nn.Module) -> DetectorProgram:
    """Return the exportable program of an mmdet detector, in evaluation mode.

    Raises:
        UnsupportedError: its type or one of its settings cannot be exported.
    """
    for kind, program in ((TwoStageDetector, FasterRCNNProgram), (SingleStageDetector, OneStageProgram)):
        if isinstance(model, kind):
            _need(model.with_neck, f'a {type(model).__name__} without a neck')
            return program(model).eval().requires_grad_(False)
    raise UnsupportedError(f'the type {type(model).__name__} (only one-stage detectors and Faster R-CNN are supported)')


# --------------------------------------------------------------------------------------------- decoding the heads' maps

def _per_level(head: nn.Module, maps: Maps, most: int, size: Tensor) -> tuple[Tensor, ...]:
    """Return the `most` best pairs of prior and class of each level: boxes (N, 4), scores, labels and levels (N,)."""
    scores, deltas = maps
    priors = head.prior_generator.grid_priors([score.shape[-2:] for score in scores], scores[0].dtype, scores[0].device)
    classes, found = head.cls_out_channels, []
    for level, (score, delta, prior) in enumerate(zip(scores, deltas, priors)):
        flat = score[0].permute(1, 2, 0).reshape(-1).sigmoid()  # (H W priors classes,)
        best, places = flat.topk(_smaller(most, flat.shape[0]))
        owners = places // classes
        decoded = head.bbox_coder.decode(prior[owners], delta[0].permute(1, 2, 0).reshape(-1, 4)[owners])
        found.append((decoded, best, places % classes, torch.full_like(places, level)))
    boxes, *others = (torch.cat(parts) for parts in zip(*found))
    return _clipped(boxes, size), *others


# Of each kind of head: from its maps to all candidates, as boxes (N, 4), scores and labels (N,), and which of them to
# keep (N,).

def _usual(head: nn.Module, maps: Maps, cfg: Any, size: Tensor) -> tuple[Tensor, ...]:
    """RetinaNet, and RTMDet, whose maps are distances in pixels."""
    boxes, scores, labels, _ = _per_level(head, maps, cfg.nms_pre, size)
    return boxes, scores, labels, scores > cfg.get('score_thr', 0)


def _nanodet(head: NanoDetPlusHead, maps: Maps, cfg: Any, size: Tensor) -> tuple[Tensor, ...]:
    return _usual(head, (maps[0], head.distances(maps[1])), cfg, size)


def _yolox(head: YOLOXHead, maps: Sequence[Sequence[Tensor]], cfg: Any, _: Tensor) -> tuple[Tensor, ...]:
    sizes = [level.shape[-2:] for level in maps[0]]
    points = torch.cat(head.prior_generator.grid_priors(sizes, maps[0][0].dtype, maps[0][0].device, with_stride=True))
    scores, deltas, objectness = (torch.cat([_rows(level) for level in levels]) for levels in maps)
    best, labels = scores.sigmoid().max(dim=1)
    best = best * objectness[:, 0].sigmoid()
    centres, halves = points[:, :2] + deltas[:, :2] * points[:, 2:], deltas[:, 2:].exp() * points[:, 2:] / 2
    return torch.cat((centres - halves, centres + halves), dim=1), best, labels, best >= cfg.score_thr


def _yolov3(head: YOLOV3Head, maps: tuple[Sequence[Tensor]], cfg: Any, _: Tensor) -> tuple[Tensor, ...]:
    levels = maps[0]
    anchors = head.prior_generator.grid_priors([level.shape[-2:] for level in levels], device=levels[0].device)
    rows = [_rows(level).reshape(-1, head.num_attrib) for level in levels]
    strides = torch.cat([torch.full_like(row[:, :1], stride) for row, stride in zip(rows, head.featmap_strides)])
    row = torch.cat(rows)
    deltas = torch.cat((row[:, :2].sigmoid(), row[:, 2:4]), dim=1)
    objectness, scores = row[:, 4].sigmoid(), row[:, 5:].sigmoid()
    sure = objectness >= cfg.get('conf_thr', -1)
    flat = (scores * sure[:, None]).reshape(-1)
    best, places = flat.topk(_smaller(cfg.get('nms_pre', -1), flat.shape[0]))
    owners = places // head.num_classes
    boxes = head.bbox_coder.decode(torch.cat(anchors)[owners], deltas[owners], strides[owners])
    return boxes, best * objectness[owners], places % head.num_classes, best > cfg.get('score_thr', 0)


def _rows(level: Tensor) -> Tensor:
    """(1, C, H, W) -> (H W, C)."""
    return level[0].permute(1, 2, 0).reshape(-1, level.shape[1])


CANDIDATES: dict[type, Callable[..., tuple[Tensor, ...]]] = {
    RetinaHead: _usual, RTMDetHead: _usual, RTMDetSepBNHead: _usual, NanoDetPlusHead: _nanodet, YOLOXHead: _yolox,
    YOLOV3Head: _yolov3}


def _smaller(most: int, count: int) -> int:
    """Return min(most, count), or `count` if `most` is not positive; works with a size unknown at export, too."""
    return torch.sym_min(most, count) if most > 0 else count


def _clipped(boxes: Tensor, size: Tensor) -> Tensor:
    """Clip boxes (N, 4) at the borders of an image; `size` is its height and width."""
    return boxes.clamp(min=0).minimum(size.flip(0).repeat(2).to(boxes))


def _is_large(boxes: Tensor, cfg: Any) -> Tensor:
    """Return whether boxes (N, 4) are wider and higher than `min_bbox_size`; all True if the config has none."""
    least = cfg.get('min_bbox_size', -1)
    sides = boxes[:, 2:] - boxes[:, :2]
    return (sides > (least if least >= 0 else -1)).all(dim=1)


def _best(boxes: Tensor, scores: Tensor, groups: Tensor, keep: Tensor, cfg: Any) -> Boxes:
    """Run non-maximum suppression per group on the candidates to `keep`; return the best `max_per_img`, best first."""
    places, span = keep.nonzero().squeeze(1), boxes.max() + 1
    boxes, scores, groups = boxes[places], scores[places], groups[places]
    # Shift each group so that boxes of different groups do not overlap.
    apart = boxes + (groups.to(boxes) * span)[:, None]
    chosen, most = nms(apart, scores, cfg.nms.iou_threshold), cfg.get('max_per_img', -1)
    chosen = chosen[:most] if most > 0 else chosen
    return boxes[chosen], scores[chosen], groups[chosen]


# ---------------------------------------------------------------------------------------------------- what is supported

def _need(fits: bool, what: str) -> None:
    if not fits:
        raise UnsupportedError(what)


def _check_head(head: nn.Module) -> None:
    known = ', '.join(kind.__name__ for kind in CANDIDATES)
    _need(type(head) in CANDIDATES, f'a {type(head).__name__} (only {known} are supported)')
    if type(head) is RetinaHead:
        _check_anchors(head, RetinaHead)
    elif hasattr(head, 'bbox_coder') and not isinstance(head, YOLOV3Head):
        _need(type(head.bbox_coder) is DistancePointBBoxCoder and head.bbox_coder.clip_border and head.use_sigmoid_cls,
              f'a {type(head).__name__} with {type(head.bbox_coder).__name__} (only DistancePointBBoxCoder with '
              'clip_border and sigmoid losses are supported)')


def _check_anchors(head: nn.Module, kind: type) -> None:
    _need(type(head) is kind, f'a {type(head).__name__} (only {kind.__name__} is supported)')
    _need(head.use_sigmoid_cls and not getattr(head.loss_cls, 'custom_cls_channels', False),
          f'a {kind.__name__} with {type(head.loss_cls).__name__} (only sigmoid losses are supported)')
    _check_coder(head.bbox_coder)


def _check_coder(coder: Any) -> None:
    _need(type(coder) is DeltaXYWHBBoxCoder and coder.clip_border and not coder.add_ctr_clamp,
          f'a {type(coder).__name__} (only DeltaXYWHBBoxCoder with clip_border and without add_ctr_clamp is supported)')


def _check_nms(cfg: Any) -> None:
    found = dict(cfg.nms or {})
    _need(found.get('type', 'nms') == 'nms' and set(found) <= {'type', 'iou_threshold'} and 'iou_threshold' in found,
          f'test_cfg.nms={found} (only type=\'nms\' with iou_threshold is supported)')


def _check_rois(roi: nn.Module) -> None:
    _need(type(roi) is StandardRoIHead and not roi.with_mask,
          f'a {type(roi).__name__} (only StandardRoIHead without masks is '
          'supported)')
    extractor, head = roi.bbox_roi_extractor, roi.bbox_head
    layers = {type(layer).__name__ for layer in extractor.roi_layers}
    _need(type(extractor) is SingleRoIExtractor and layers == {'RoIAlign'}
          and all(layer.pool_mode == 'avg' for layer in extractor.roi_layers),
          f'a {type(extractor).__name__} with {layers} (only SingleRoIExtractor with RoIAlign, pool_mode=\'avg\', is '
          'supported)')
    _need(isinstance(head, BBoxHead) and head.with_cls and head.with_reg and not head.custom_activation
          and not head.custom_cls_channels,
          f'a {type(head).__name__} (only a BBoxHead with boxes and softmax classes is supported)')
    _check_coder(head.bbox_coder)
