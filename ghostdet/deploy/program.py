"""A detector as one exportable module, from pixels to boxes.

No exporter can follow the data structures and branches in mmdet's `predict`. These modules run the same backbone, neck
and heads with the same weights. `ghostdet.deploy.postprocess` makes boxes of the heads' maps.
"""
from typing import Any

import torch
from mmdet.models.dense_heads import RetinaHead, RPNHead, YOLOV3Head
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder, DistancePointBBoxCoder
from torch import Tensor, nn
from torchvision.ops import roi_align

from ghostdet.deploy.postprocess import CANDIDATES, Instances, Maps, clip, is_large, nms_per_group, top_per_level
from ghostdet.errors import UserError


class UnsupportedError(UserError):
    """A detector cannot be exported, because it has something that exported files cannot have."""

    def __init__(self, what: str) -> None:
        super().__init__(f'this detector cannot be exported: it has {what}')


class Normalize(nn.Module):
    """mmdet's data preprocessor: channel order, normalisation, and zeros outside the image."""

    def __init__(self, preprocessor: nn.Module) -> None:
        super().__init__()
        _need(preprocessor.pad_value == 0,
              f'data_preprocessor.pad_value={preprocessor.pad_value} (only 0 is supported)')
        mean, std = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
        if preprocessor._enable_normalize:
            mean, std = preprocessor.mean.clone(), preprocessor.std.clone()
        _need(len(mean) == 3, f'images of {len(mean)} channels (only 3 channels are supported)')
        self.is_rgb = bool(preprocessor._channel_conversion)  # mmdet's images are BGR, and the program's are RGB
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)

    def forward(self, image: Tensor, size: Tensor) -> Tensor:
        """RGB pixels (N, H, W, 3) from 0 to 255, and the images' heights and widths without padding, (N, 2) or of one
        image (2,) -> (N, 3, H, W).
        """
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
        self.normalize, self.backbone, self.neck = Normalize(model.data_preprocessor), model.backbone, model.neck

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Boxes in pixels of the padded image, best first."""
        return self.decoded(self.maps(image, size), size)

    def decoded(self, maps: Any, size: Tensor) -> tuple[Tensor, ...]:
        """Decode the maps of all images, as `forward` returns them."""
        if size.dim() == 1:
            return self.boxes(maps, size)
        results = [self.boxes(_of_image(maps, index), own) for index, own in enumerate(size.unbind())]
        owners = [torch.full_like(labels, index) for index, (_, _, labels) in enumerate(results)]
        return *(torch.cat(parts) for parts in zip(*results)), torch.cat(owners)

    def maps(self, image: Tensor, size: Tensor) -> Any:
        """Run the network: tensors of all images, whose first dimension is the image, in tuples and lists."""
        raise NotImplementedError

    def boxes(self, maps: Any, size: Tensor) -> Instances:
        """Decode the maps of one image, best first; `size` (2,) is its height and width without padding."""
        raise NotImplementedError

    def parts(self, maps: Any) -> Maps:
        """Return the maps (N, C, H_k, W_k) that the self-check of a file compares, part by part."""
        return maps

    def features(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Pixels (N, H, W, 3), heights and widths (N, 2) or (2,) -> the neck's features, one tensor per level."""
        return self.neck(self.backbone(self.normalize(image, size)))


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

    def boxes(self, maps: Maps, size: Tensor) -> Instances:
        """Decode the head's maps of all levels."""
        boxes, scores, labels, keep = self.candidates(self.head, maps, self.cfg, size)
        return nms_per_group(boxes, scores, labels, keep & is_large(boxes, self.cfg), self.cfg)


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

    def boxes(self, maps: tuple[tuple[Tensor, ...], Maps], size: Tensor) -> Instances:
        """Find proposals in the RPN's maps, then detections in the features."""
        features, rpn_maps = maps
        return self.second(features, self.proposals(rpn_maps, size), size)

    def parts(self, maps: tuple[tuple[Tensor, ...], Maps]) -> Maps:
        """Return the maps of the RPN."""
        return maps[1]

    def proposals(self, maps: Maps, size: Tensor) -> Tensor:
        """Decode the RPN's maps of all levels: proposals (N, 4), best first."""
        boxes, scores, _, levels = top_per_level(self.rpn, maps, self.rpn_cfg.nms_pre, size)
        return nms_per_group(boxes, scores, levels, is_large(boxes, self.rpn_cfg), self.rpn_cfg)[0]

    def second(self, features: tuple[Tensor, ...], proposals: Tensor, size: Tensor) -> Instances:
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
        boxes = clip(head.bbox_coder.decode(boxes, deltas.reshape(-1, 4)), size)
        boxes = boxes.reshape(-1, deltas.shape[1] // 4, 4).expand(-1, classes, 4).reshape(-1, 4)
        labels = torch.arange(classes, device=rois.device)[None].expand(scores.shape[0], classes)
        scores, labels = scores.reshape(-1), labels.reshape(-1)
        return nms_per_group(boxes, scores, labels, scores > self.cfg.score_thr, self.cfg)

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
    """Return the part of one image, with a first dimension of 1, of tensors in nested sequences."""
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
    nms = dict(cfg.nms or {})
    _need(nms.get('type', 'nms') == 'nms' and set(nms) | {'type'} == {'type', 'iou_threshold'},
          f'test_cfg.nms={nms} (only type=\'nms\' with iou_threshold is supported)')


def _check_rois(roi: nn.Module) -> None:
    _need(type(roi) is StandardRoIHead and not roi.with_mask,
          f'a {type(roi).__name__} (only StandardRoIHead without masks is supported)')
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
