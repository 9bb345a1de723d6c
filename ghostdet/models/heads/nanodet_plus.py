"""NanoDet-Plus: its head, and the branch that helps it in training. Module names match the published weights."""
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from mmcv.cnn import ConvModule, Scale
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.dense_heads.gfl_head import Integral
from mmdet.models.detectors import SingleStageDetector
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ghostdet.models.necks.ghost_pan import BN, SLOPE, SeparableConv

Maps = tuple[list[Tensor], list[Tensor]]  # of each level: class scores (N, C, H, W), distributions (N, 4 * bins, H, W)
Targets = tuple[Tensor, Tensor, Tensor]  # of each point: label (P,), quality (P,), box (P, 4)
BIAS = -4.595  # of the class scores at first: a probability of 0.01
STRIDES = (8, 16, 32, 64)
QUALITY_FOCAL = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0)
DISTRIBUTION_FOCAL = dict(type='DistributionFocalLoss', loss_weight=0.25)
GIOU = dict(type='GIoULoss', loss_weight=2.0)
GN = dict(type='GN', num_groups=32)
NORMAL = dict(type='Normal', layer='Conv2d', std=0.01,
              override=dict(type='Normal', name='gfl_cls', std=0.01, bias=BIAS))
# In NanoDet-Plus centres of boxes get no preference. A radius that is large enough makes mmdet's preference zero.
ASSIGNER = dict(type='DynamicSoftLabelAssigner', topk=13, iou_weight=3.0, soft_center_radius=1e4)


@MODELS.register_module()
class NanoDetPlusHead(BaseDenseHead):
    """The head of NanoDet-Plus: one output per level, with class scores and a distribution of each side's distance.

    Features (N, in_channels, H_k, W_k) of each level -> class scores (N, num_classes, H_k, W_k) and distributions
    (N, 4 * (reg_max + 1), H_k, W_k) of each level. The mean of a distribution is the distance from the point to the
    left, top, right or bottom side, in strides. Points lie at multiples of the stride. Source: RangiLyu/nanodet.

    Args:
        stacked_convs: how many separable convolutions each level has.
        reg_max: the largest distance in strides.
        train_cfg: may have an `assigner`; by default it is NanoDet-Plus's.
    """

    def __init__(self, num_classes: int, in_channels: int = 96, feat_channels: int = 96, stacked_convs: int = 2,
                 kernel_size: int = 5, strides: Sequence[int] = STRIDES, reg_max: int = 7, norm_cfg: dict = BN,
                 loss_cls: dict = QUALITY_FOCAL, loss_dfl: dict = DISTRIBUTION_FOCAL, loss_bbox: dict = GIOU,
                 train_cfg: dict | None = None, test_cfg: dict | None = None,
                 init_cfg: dict | list[dict] | None = NORMAL) -> None:
        super().__init__(init_cfg)
        self.num_classes = self.cls_out_channels = num_classes
        self.use_sigmoid_cls, self.reg_max, self.strides = True, reg_max, tuple(strides)
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        self.assigner = TASK_UTILS.build((train_cfg or {}).get('assigner', ASSIGNER))
        self.prior_generator, self.bbox_coder = MlvlPointGenerator(strides, offset=0), DistancePointBBoxCoder()
        self.loss_cls, self.loss_bbox, self.loss_dfl = map(MODELS.build, (loss_cls, loss_bbox, loss_dfl))
        self.distribution_project = Integral(reg_max)
        self.cls_convs = nn.ModuleList(nn.ModuleList(
            SeparableConv(feat_channels if index else in_channels, feat_channels, kernel_size, norm_cfg)
            for index in range(stacked_convs)) for _ in strides)
        self.gfl_cls = nn.ModuleList(nn.Conv2d(feat_channels, num_classes + 4 * (reg_max + 1), 1) for _ in strides)

    def forward(self, x: Sequence[Tensor]) -> Maps:
        """Features of each level -> class scores and distributions of each level."""
        outs = []
        for feature, convs, last in zip(x, self.cls_convs, self.gfl_cls, strict=True):
            for conv in convs:
                feature = conv(feature)
            outs.append(last(feature).split([self.num_classes, 4 * (self.reg_max + 1)], dim=1))
        scores, distributions = zip(*outs)
        return list(scores), list(distributions)

    # --------------------------------------------------------------------------------------------------------- training

    def loss(self, x: Sequence[Tensor], batch_data_samples: list, aux: Maps | None = None) -> dict[str, Tensor]:
        """Return the losses by name.

        Args:
            x: features of each level.
            aux: what the auxiliary head gives. Then its predictions choose the points for both, and its losses count,
                too.
        """
        gts, ignored, metas = unpack_gt_instances(batch_data_samples)
        scores, distributions = self(x)
        return self.loss_by_feat(scores, distributions, gts, metas, ignored, aux)

    def loss_by_feat(self, cls_scores: list[Tensor], bbox_preds: list[Tensor], batch_gt_instances: list,
                     batch_img_metas: list[dict], batch_gt_instances_ignore: list | None = None,
                     aux: Maps | None = None) -> dict[str, Tensor]:
        """Return the losses of class scores and distributions of each level."""
        precise = torch.promote_types(bbox_preds[0].dtype, torch.float32)  # boxes are coarse in half precision
        points = torch.cat(self.prior_generator.grid_priors(
            [scores.shape[2:] for scores in cls_scores], precise, bbox_preds[0].device, with_stride=True))
        outs = [self._flat(points, cls_scores, bbox_preds)] + ([self._flat(points, *aux)] if aux else [])
        scores, _, boxes = (tensor.detach() for tensor in outs[-1])
        ignored = batch_gt_instances_ignore or [None] * len(batch_gt_instances)
        targets = [self._targets(points, *found)
                   for found in zip(scores, boxes, batch_gt_instances, ignored, strict=True)]
        labels, quality, wanted = (torch.cat(parts) for parts in zip(*targets))
        losses: dict[str, Tensor] = {}
        for prefix, out in zip(('', 'aux_'), outs):
            found = self._losses(points.repeat(len(targets), 1), out, (labels, quality, wanted))
            losses |= {prefix + name: value for name, value in found.items()}
        return losses

    def _flat(self, points: Tensor, cls_scores: list[Tensor],
              bbox_preds: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return class scores (N, P, C), distributions (N, P, 4 * bins) and boxes (N, P, 4) of all P points."""
        scores, distributions = (torch.cat([part.flatten(2) for part in parts], dim=2).transpose(1, 2)
                                 for parts in (cls_scores, bbox_preds))
        distances = self.distribution_project(distributions).view(*distributions.shape[:2], 4) * points[:, 2:3]
        return scores, distributions, self.bbox_coder.decode(points[:, :2].expand(len(distances), -1, -1), distances)

    def _targets(self, points: Tensor, scores: Tensor, boxes: Tensor, gt: InstanceData,
                 ignored: InstanceData | None) -> Targets:
        """Return the targets of one image."""
        assigned = self.assigner.assign(InstanceData(priors=points, scores=scores, bboxes=boxes), gt, ignored)
        chosen = assigned.gt_inds > 0
        index = assigned.gt_inds[chosen] - 1
        labels = torch.full_like(assigned.gt_inds, self.num_classes)  # the background
        quality, wanted = boxes.new_zeros(len(labels)), torch.zeros_like(boxes)
        labels[chosen] = gt.labels[index]
        quality[chosen] = assigned.max_overlaps[chosen].to(quality)
        wanted[chosen] = gt.bboxes[index].to(wanted)
        return labels, quality, wanted

    def _losses(self, points: Tensor, out: tuple[Tensor, Tensor, Tensor], targets: Targets) -> dict[str, Tensor]:
        """Return one head's losses. `out` is from `_flat`; `points` and `targets` have a row per point of each image.

        They are divided by means over all processes, so that several processes train like one with all their images.
        """
        scores, distributions, boxes = (tensor.flatten(0, 1) for tensor in out)
        labels, quality, wanted = targets
        chosen = labels < self.num_classes
        least = 1 / get_world_size()
        weight = scores[chosen].detach().sigmoid().amax(dim=1)
        count = reduce_mean(chosen.sum().to(scores)).clamp(min=least).item()
        total = reduce_mean(weight.sum()).clamp(min=least).item()
        near = points[chosen]
        distances = self.bbox_coder.encode(near[:, :2] / near[:, 2:3], wanted[chosen] / near[:, 2:3], self.reg_max)
        return dict(
            loss_cls=self.loss_cls(scores, (labels, quality), avg_factor=count),
            loss_bbox=self.loss_bbox(boxes[chosen], wanted[chosen], weight, avg_factor=total),
            loss_dfl=self.loss_dfl(distributions[chosen].reshape(-1, self.reg_max + 1), distances.flatten(),
                                   weight.repeat_interleave(4), avg_factor=4 * total))

    # -------------------------------------------------------------------------------------------------------- inference

    def predict_by_feat(self, cls_scores: list[Tensor], bbox_preds: list[Tensor], *args: Any, **options: Any) -> list:
        """Return the detections of each image; arguments as in mmdet's dense heads."""
        return super().predict_by_feat(cls_scores, self.distances(bbox_preds), *args, **options)

    def distances(self, distributions: Sequence[Tensor]) -> list[Tensor]:
        """Distributions (N, 4 * bins, H, W) of each level -> distances to the four sides in pixels, (N, 4, H, W)."""
        found = []
        for stride, maps in zip(self.strides, distributions):
            number, _, height, width = maps.shape
            means = self.distribution_project(maps.permute(0, 2, 3, 1)).view(number, height, width, 4)
            found.append(means.permute(0, 3, 1, 2) * stride)
        return found


@MODELS.register_module()
class NanoDetPlusAuxHead(BaseModule):
    """The auxiliary head of NanoDet-Plus, for training only: two towers of 3x3 convolutions that all levels share.

    Features (N, in_channels, H_k, W_k) of each level -> class scores and distributions of each level, as
    `NanoDetPlusHead`.
    """

    def __init__(self, num_classes: int, in_channels: int = 192, feat_channels: int = 192, stacked_convs: int = 4,
                 strides: Sequence[int] = STRIDES, reg_max: int = 7, norm_cfg: dict = GN,
                 init_cfg: dict | list[dict] | None = NORMAL) -> None:
        super().__init__(init_cfg)
        leaky = dict(type='LeakyReLU', negative_slope=SLOPE)
        self.cls_convs, self.reg_convs = (nn.ModuleList(
            ConvModule(feat_channels if index else in_channels, feat_channels, 3, padding=1, norm_cfg=norm_cfg,
                       act_cfg=leaky)
            for index in range(stacked_convs)) for _ in range(2))
        self.gfl_cls = nn.Conv2d(feat_channels, num_classes, 3, padding=1)
        self.gfl_reg = nn.Conv2d(feat_channels, 4 * (reg_max + 1), 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in strides)

    def forward(self, x: Sequence[Tensor]) -> Maps:
        """Features of each level -> class scores and distributions of each level."""
        scores, distributions = [], []
        for feature, scale in zip(x, self.scales, strict=True):
            classes = sides = feature
            for one, other in zip(self.cls_convs, self.reg_convs):
                classes, sides = one(classes), other(sides)
            scores.append(self.gfl_cls(classes))
            distributions.append(scale(self.gfl_reg(sides)))
        return scores, distributions


@MODELS.register_module()
class NanoDetPlus(SingleStageDetector):
    """NanoDet-Plus: a one-stage detector with an auxiliary neck and head in training. Inference does not use them.

    Args:
        aux_head: config of the auxiliary head; None: none, and no auxiliary neck either.
        detach_epoch: from this epoch on, counted from 0, the auxiliary branch does not train backbone and neck.
    """

    def __init__(self, *args: Any, aux_head: dict | None = None, detach_epoch: int = 10, **options: Any) -> None:
        super().__init__(*args, **options)
        self.detach_epoch, self.epoch = detach_epoch, 0
        if aux_head is not None:
            self.aux_neck, self.aux_head = deepcopy(self.neck), MODELS.build(aux_head)

    def init_weights(self) -> None:
        """Initialise all weights; the auxiliary neck starts as a copy of the neck."""
        super().init_weights()
        if hasattr(self, 'aux_neck'):
            self.aux_neck.load_state_dict(self.neck.state_dict())

    def set_epoch(self, epoch: int) -> None:
        """Take the number of the epoch, which mmdet's SetEpochInfoHook gives."""
        self.epoch = epoch

    def loss(self, batch_inputs: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Return the losses by name, for images (N, 3, H, W)."""
        if not hasattr(self, 'aux_head'):
            return super().loss(batch_inputs, batch_data_samples)
        maps = self.backbone(batch_inputs)
        features = self.neck(maps)
        seen = [x.detach() for x in maps] if self.epoch >= self.detach_epoch else maps
        used = [x.detach() for x in features] if self.epoch >= self.detach_epoch else features
        both = [torch.cat(pair, dim=1) for pair in zip(used, self.aux_neck(seen))]
        return self.bbox_head.loss(features, batch_data_samples, aux=self.aux_head(both))
