"""A checkpoint in use: mmdet's own pipeline and prediction."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose

from ghostdet.data.images import check_whole, decode
from ghostdet.deploy.detections import Detections
from ghostdet.engine.datasets import dataset_of
from ghostdet.engine.detector import read_detector
from ghostdet.engine.launch import check_cuda
from ghostdet.weights.checkpoint_file import trusting


@dataclass(frozen=True)
class Prepared:
    """An image as the pipeline leaves it, and its height and width in its file."""

    data: dict[str, Any]
    original: tuple[int, int]


class CheckpointDetector:
    """A detector of any kind, on a GPU where there is one.

    Args:
        config: a config file, in place of the one that the checkpoint holds.

    Raises:
        UserError: the checkpoint cannot be read, or does not fit its config.
    """

    def __init__(self, file: Path, threads: int | None, config: str | Path | None, trust: bool) -> None:
        check_cuda()
        if threads:
            torch.set_num_threads(threads)
        with trusting(trust):
            trained = read_detector(str(file), None if config is None else str(config))
        self.classes = trained.classes
        self.model = trained.model.cuda() if torch.cuda.is_available() else trained.model
        # The first step reads a file, and here is its content; annotations there are none.
        steps = [step for step in dataset_of(trained.cfg, 'test').pipeline if 'LoadAnnotations' not in step['type']][1:]
        self.decodes = bool(steps) and steps[0]['type'] == 'DecodeAndResize'
        self.pipeline = Compose(steps)

    def prepare(self, image: bytes | np.ndarray) -> Prepared:
        """An image's file, or its pixels (H, W, 3) uint8, blue first, as the network takes it. Safe in any thread."""
        start: dict[str, Any] = dict(img_path='', img_id=0)
        if isinstance(image, bytes):
            check_whole(image)
        if isinstance(image, bytes) and self.decodes:
            start |= dict(content=image)
        else:
            pixels = decode(image)[0] if isinstance(image, bytes) else image
            start |= dict(img=pixels, img_shape=pixels.shape[:2], ori_shape=pixels.shape[:2])
        data = self.pipeline(start)
        return Prepared(data, tuple(data['data_samples'].ori_shape))

    def run(self, image: Prepared) -> Detections:
        """All that is found."""
        with torch.no_grad():
            batch = dict(inputs=[image.data['inputs']], data_samples=[image.data['data_samples']])
            found = self.model.test_step(batch)[0].pred_instances.cpu()
        return Detections(found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy(), self.classes, image.original)
