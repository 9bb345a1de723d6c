"""A trained detector, from a checkpoint: its config, its classes, its weights and how it wants its images."""
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from ghostdet.engine.build import Trained, build_detector
from ghostdet.engine.checkpoints import learned_classes
from ghostdet.engine.config_file import read_config
from ghostdet.engine.datasets import classes_of, dataset_of, heads
from ghostdet.engine.runner import load_fitting, read_checkpoint
from ghostdet.errors import UserError, reason
from ghostdet.messages import LOGGER
from ghostdet.runtime.images import check_whole, decode

LOADERS = ('LoadImageFromFile', 'LoadWholeImage', 'ReadImage')
RESIZERS = ('Resize', 'DecodeAndResize')
USUAL = dict(to_float32=False, color_type='color', imdecode_backend='cv2')  # settings of loaders that change nothing
OTHERS = ('LoadAnnotations', 'PackDetInputs', 'PackPlanes')


@dataclass(frozen=True)
class Prepared:
    """An image as the pipeline leaves it, in a batch of its own, and its height and width in its file."""

    batch: dict[str, Any]
    original: tuple[int, int]


class ImagePipeline:
    """The test pipeline of a config for an image that no data set knows. Safe in any thread."""

    def __init__(self, cfg: Config) -> None:
        # The first step reads a file, and here is its content; annotations there are none.
        steps = [step for step in dataset_of(cfg, 'test').pipeline if 'LoadAnnotations' not in step['type']][1:]
        self.decodes = bool(steps) and steps[0]['type'] == 'DecodeAndResize'
        self.steps = Compose(steps)

    def __call__(self, image: bytes | np.ndarray) -> Prepared:
        """An image's file, or its pixels (H, W, 3) uint8, blue first, as the network takes it."""
        start: dict[str, Any] = dict(img_path='', img_id=0)
        if isinstance(image, bytes):
            check_whole(image)
        if isinstance(image, bytes) and self.decodes:
            start |= dict(content=image)
        else:
            pixels = decode(image)[0] if isinstance(image, bytes) else image
            start |= dict(img=pixels, img_shape=pixels.shape[:2], ori_shape=pixels.shape[:2])
        data = self.steps(start)
        batch = dict(inputs=[data['inputs']], data_samples=[data['data_samples']])
        return Prepared(batch, tuple(data['data_samples'].ori_shape))


@dataclass(frozen=True)
class Resizing:
    """What a pipeline does to an image's size: width and height that it has to fit into (`keep_ratio`) or gets."""

    scale: tuple[int, int]
    keep_ratio: bool


def read_detector(checkpoint: str, config: str | None = None, options: dict | None = None) -> Trained:
    """The detector in a checkpoint of a training run.

    Args:
        config: a config file, in place of the one that the checkpoint holds.
        options: settings that replace those of the config.

    Raises:
        UserError: the checkpoint cannot be read, has no config, or does not fit its config.
    """
    content = read_checkpoint(checkpoint)
    meta = content.get('meta') or {}
    cfg = read_config(config, options or {}) if config else _stored_config(meta, checkpoint, options or {})
    init_default_scope(cfg.get('default_scope') or 'mmdet')  # by which the classes of its data are found
    classes = learned_classes(meta) or classes_of(cfg, 'test')
    for head in heads(cfg.model):
        head['num_classes'] = len(classes)  # a run with --data-root took them from the data
    model = build_detector(cfg, config or checkpoint)
    state = content.get('state_dict', content)
    state = {re.sub(r'^module\.', '', str(key)): value for key, value in state.items()} if isinstance(state, dict) else {}
    LOGGER.info(load_fitting(model, state, checkpoint, must_fit=True))
    return Trained(model, tuple(classes), cfg)


def _stored_config(meta: dict, checkpoint: str, options: dict) -> Config:
    """The config that mmengine writes into a run's checkpoints; as it was read, it is data and no program."""
    text = meta.get('cfg')
    if not isinstance(text, str):
        raise UserError(f'{checkpoint} does not hold the config it was trained with, as files of weights alone do not: name it '
                        'with --config')
    try:
        cfg = Config.fromstring(text, '.py')
        cfg.merge_from_dict(options)
    except Exception as error:
        raise UserError(f'the config in {checkpoint} cannot be read ({reason(error)}): name one with --config') from error
    return cfg


def resizing(cfg: Config) -> Resizing:
    """What the test pipeline does to the size of an image.

    Raises:
        UserError: it does something else to the pixels, too, which an exported file would not.
    """
    steps = [dict(step, type=str(step['type']).split('.')[-1]) for step in dataset_of(cfg, 'test').pipeline]
    names = [step['type'] for step in steps]
    resizers = [step for step in steps if step['type'] in RESIZERS]
    odd = [name for name in names if name not in (*LOADERS, *RESIZERS, *OTHERS)]
    set_otherwise = [key for key, value in steps[0].items() if key not in ('type', 'backend_args') and USUAL.get(key) != value]
    if set_otherwise:
        raise UserError(f'the test pipeline loads images with {", ".join(set_otherwise)} set, and an exported detector only as '
                        f'{steps[0]["type"]} does by itself')
    if odd or len(resizers) != 1 or names[0] not in LOADERS:
        raise UserError(f'the test pipeline is {", ".join(names)}, and an exported detector can load an image and resize it '
                        'once, no more: change test_dataloader.dataset.pipeline, or predict from the checkpoint')
    step = resizers[0]
    scale, usual = step.get('scale'), step.get('interpolation', 'bilinear') == 'bilinear' and step.get('backend', 'cv2') == 'cv2'
    if scale is None or not usual:
        raise UserError(f'the test pipeline resizes by {step}, and an exported detector can only resize bilinearly, by OpenCV, '
                        'to a scale in pixels')
    return Resizing(tuple(scale) if not isinstance(scale, int) else (scale, scale), bool(step.get('keep_ratio', False)))

