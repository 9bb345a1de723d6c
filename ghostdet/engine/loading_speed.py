"""Speed of the pipelines in a config, as they are and as mmdet would have them."""
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from torch import nn

from ghostdet.analysis.loading_speed import LoadingSpeed, PipelineSpeed, describe, in_turn, one_thread
from ghostdet.engine.console import read_config
from ghostdet.engine.weights import drop_weights
from ghostdet.errors import UserError, reason

# A transform of ours -> mmdet's.
SHIPPED = dict(LoadWholeImage='LoadImageFromFile', ReadImage='LoadImageFromFile', DecodeAndResize='Resize',
               PackPlanes='PackDetInputs')
# As many boxes as an image of COCO has.
BOXES = tuple(dict(bbox=[5 * k, 4 * k, 5 * k + 20, 4 * k + 20], bbox_label=0, ignore_flag=0) for k in range(7))


def measure(file: str, images: Sequence[Path], scales: Sequence[tuple[int, int]], pairs: int) -> LoadingSpeed:
    """Load `images` through both pipelines of a config at every scale, and have its detector, untrained, predict some of them.

    Args:
        scales: width and height, in pixels, in the place of the config's own.
        pairs: how many times all images are loaded in either way, and one image is predicted.

    Raises:
        UserError: the config is missing or wrong.
        DataError: an image cannot be read.
    """
    cfg = read_config(file, {})
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    detector = _detector(file, cfg)
    splits = (('training', cfg.train_dataloader.dataset), ('prediction', cfg.test_dataloader.dataset))
    with one_thread():
        rows = tuple(_row(name, dataset.pipeline, detector if name == 'prediction' else None, images, scale, pairs)
                     for scale in scales for name, dataset in splits)
    return LoadingSpeed(f'{describe(images)}; {pairs} pairs, processor time of one thread', rows)


def _row(name: str, steps: Sequence[dict], detector: nn.Module | None, images: Sequence[Path], scale: tuple[int, int],
         pairs: int) -> PipelineSpeed:
    own = Compose([dict(step, scale=scale) if 'scale' in step else step for step in steps])
    shipped = Compose([dict(step, type=SHIPPED.get(step['type'], step['type']), **(dict(scale=scale) if 'scale' in step else {}))
                       for step in steps])
    seconds = in_turn([_load(pipeline, images) for pipeline in (shipped, own)], pairs)
    mmdets, ours = (tuple(len(images) / value for value in values) for values in seconds)
    predicted: tuple[float, ...] = ()
    if detector is not None:
        (seconds_each,) = in_turn([_predict(detector, own(_record(images[0])))], pairs)
        predicted = tuple(1 / value for value in seconds_each)
    return PipelineSpeed(scale, name, mmdets, ours, predicted)


def _load(pipeline: Compose, images: Sequence[Path]) -> Callable[[], None]:
    def job() -> None:
        np.random.seed(0)  # so that either way flips the same images
        for image in images:
            pipeline(_record(image))
    return job


def _predict(detector: nn.Module, loaded: dict) -> Callable[[], Any]:
    def job() -> Any:
        with torch.no_grad():
            return detector.test_step({key: [value] for key, value in loaded.items()})
    return job


def _record(image: Path) -> dict:
    """As a data set gives it to a pipeline."""
    return dict(img_path=str(image), img_id=0, instances=list(BOXES))


def _detector(file: str, cfg: Config) -> nn.Module:
    drop_weights(cfg)
    try:
        detector = MODELS.build(cfg.model)
    except Exception as error:  # constructors fail in their own ways
        raise UserError(f'the model of {file} cannot be built ({reason(error)}): mend the config') from error
    detector.init_weights()  # without which most boxes would count as found
    detector.eval()
    return detector
