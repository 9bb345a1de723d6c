"""Run a checkpoint with mmdet's own pipeline and prediction."""
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from ghostdet.infer.detections import Detections
from ghostdet.training.checkpoint_config import tile_in
from ghostdet.training.image_scale import scale_of
from ghostdet.training.max_objects import max_objects_of
from ghostdet.training.trained_detector import ImagePipeline, read_detector
from ghostdet.weights.schemes import safe_loading

DEFAULT_SIDE = 640  # pixels, of the input of a detector whose test pipeline has no size


class CheckpointDetector:
    """Any mmdet detector, loaded from a checkpoint. It runs on a GPU if there is one.

    Args:
        config: a config file with the same network, which replaces the one in the checkpoint.
        ignore_orientation: take the pixels of image files as they lie in the file, also if the detector was trained
            otherwise.
        bits: depth of images of more than 8 bits; None: that of the checkpoint, if it has one.

    Raises:
        UserError: the checkpoint cannot be read, or does not fit the config.
    """

    batch, requests, workers = 1, 1, 2

    def __init__(self, file: str, threads: int | None, config: str | Path | None, trust: bool,
                 ignore_orientation: bool = False, bits: int | None = None) -> None:
        if threads:
            torch.set_num_threads(threads)
        with safe_loading(trust):
            trained = read_detector(file, None if config is None else str(config))
        self.classes, self.thresholds = trained.classes, trained.thresholds
        self.max_objects = max_objects_of(trained.cfg)
        self.model = trained.model.cuda() if torch.cuda.is_available() else trained.model
        self.pipeline = ImagePipeline(trained.cfg, ignore_orientation, bits)
        self.upright, self.bits = self.pipeline.upright, self.pipeline.bits
        self.side = min(scale_of(trained.cfg, 'test')[0] or [DEFAULT_SIDE])
        self.tile, self.turn = tile_in(trained.cfg), Lock()

    def prepare(self, image: bytes | np.ndarray) -> dict[str, Any]:
        """Prepare an image for `run`: the bytes of its file, or BGR pixels (H, W, 3) uint8. Safe in any thread."""
        return self.pipeline(image)

    @torch.no_grad()
    def run(self, images: Sequence[dict[str, Any]]) -> list[Detections]:
        """Return all detections in prepared images."""
        with self.turn:
            samples = [self.model.test_step(image)[0].cpu() for image in images]
        results = [(sample.pred_instances, tuple(sample.ori_shape)) for sample in samples]
        return [Detections(instances.bboxes.numpy(), instances.scores.numpy(), instances.labels.numpy(), self.classes,
                           size) for instances, size in results]
