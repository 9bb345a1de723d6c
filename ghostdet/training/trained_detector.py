"""Reads a trained detector from a checkpoint, and its test pipeline for images."""
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose

from ghostdet.data.loading import COLOURS, LOADING, own_pipeline
from ghostdet.errors import UserError
from ghostdet.images.decode import check_whole, decode
from ghostdet.messages import LOGGER
from ghostdet.training.build import Trained, build_detector
from ghostdet.training.checkpoint_config import config_of
from ghostdet.training.checkpoints import checkpoint_of, ignored_orientation, kept_thresholds, learned_classes
from ghostdet.training.datasets import classes_of, dataset_of, heads, ignore_orientation, reads_upright
from ghostdet.training.image_scale import set_scale
from ghostdet.training.max_objects import set_max_objects
from ghostdet.weights.fitting import load_fitting, read_checkpoint

RESIZERS = ('Resize', 'DecodeAndResize')
USUAL = dict(to_float32=False, imdecode_backend='cv2')  # settings of loaders that change nothing
OTHERS = ('LoadAnnotations', 'PackDetInputs', 'PackPlanes')


class ImagePipeline:
    """Prepares one image as a config's test pipeline does, without a data set. Safe in any thread.

    Args:
        ignore_orientation: take the pixels of image files as they lie in the file, also if the config does not say so.
        bits: depth of images of more than 8 bits; None: that of the config, if it has one.
    """

    def __init__(self, cfg: Config, ignore_orientation: bool = False, bits: int | None = None) -> None:
        self.bits = bits or cfg.get('bits')
        self.upright = reads_upright(cfg, 'test') and not ignore_orientation
        # Skip the first step, which reads a file (the content is given), and the annotations, which do not exist.
        steps = own_pipeline([step for step in dataset_of(cfg, 'test').pipeline
                              if 'LoadAnnotations' not in step['type']])[1:]
        self.decodes = bool(steps) and str(steps[0]['type']).endswith('DecodeAndResize')
        self.steps = Compose(steps)

    def __call__(self, image: bytes | np.ndarray) -> dict[str, Any]:
        """Prepare an image: the bytes of its file, or BGR pixels (H, W, 3) uint8.

        Returns:
            A batch of one image, as `test_step` of a model takes it: `inputs` and `data_samples`.
        """
        start: dict[str, Any] = dict(img_path='', img_id=0)
        if isinstance(image, bytes):
            check_whole(image)
        if isinstance(image, bytes) and self.decodes:
            start |= dict(content=image, upright=self.upright, bits=self.bits)
        else:
            pixels = decode(image, upright=self.upright, bits=self.bits)[0] if isinstance(image, bytes) else image
            start |= dict(img=pixels, img_shape=pixels.shape[:2], ori_shape=pixels.shape[:2])
        data = self.steps(start)
        return dict(inputs=[data['inputs']], data_samples=[data['data_samples']])


@dataclass(frozen=True)
class Resizing:
    """How a pipeline resizes an image.

    Attributes:
        scale: width and height in pixels: the image fits into them (`keep_ratio`), or gets exactly them.
        keep_ratio: keep the image's aspect ratio.
        upright: turn the image as its EXIF orientation says.
        border: value of the pixels that are added at the right and the bottom, up to `scale`; None: none are added.
    """

    scale: tuple[int, int]
    keep_ratio: bool
    upright: bool = True
    border: int | None = None


def read_detector(checkpoint: str, config: str | None = None, options: dict | None = None, scale: int | None = None,
                  max_objects: int | None = None) -> Trained:
    """Read the detector in a checkpoint of a training run.

    Args:
        config: a config file to use instead of the config in the checkpoint; with the same network.
        options: settings that replace those of the config.
        scale: longer side of the images in pixels; None: that of the config.
        max_objects: largest number of boxes for an image; None: that of the config.

    Raises:
        UserError: the checkpoint cannot be read, has no config, or does not fit the config; or an option does not.
    """
    checkpoint = checkpoint_of(checkpoint)
    content = read_checkpoint(checkpoint)
    meta = content.get('meta') or {}
    cfg = config_of(checkpoint, content, config, options or {})
    if ignored_orientation(meta):
        ignore_orientation(cfg)  # a config that is named may not say so
    classes = learned_classes(meta) or classes_of(cfg, 'test')
    for head in heads(cfg.model):
        head['num_classes'] = len(classes)  # with --data-root the classes came from the data, not the config
    if scale is not None:
        set_scale(cfg, scale)
    if max_objects is not None:
        set_max_objects(cfg, max_objects)
    model = build_detector(cfg, config or checkpoint)
    state = content.get('state_dict', content)
    state = {str(key).removeprefix('module.'): value
             for key, value in (state.items() if isinstance(state, dict) else ())}
    LOGGER.info(load_fitting(model, state, checkpoint, must_fit=True))
    thresholds = None if scale is not None else kept_thresholds(content, classes)  # those are for the run's scale
    return Trained(model, tuple(classes), cfg, thresholds)


def resizing(cfg: Config) -> Resizing:
    """Return how the test pipeline resizes an image.

    Raises:
        UserError: the pipeline also does something that an exported file cannot do.
    """
    steps = [dict(step, type=str(step['type']).split('.')[-1]) for step in dataset_of(cfg, 'test').pipeline]
    names = [step['type'] for step in steps]
    resizers = [step for step in steps if step['type'] in RESIZERS]
    odd = [name for name in names if name not in (*LOADING, *RESIZERS, *OTHERS, 'Pad')]
    changed = [key for key, value in steps[0].items() if key not in ('type', 'backend_args', 'bits')
               and USUAL.get(key) != value and not (key == 'color_type' and value in COLOURS)]
    if changed:
        raise _refused(f'sets {", ".join(changed)} of {steps[0]["type"]}', 'load images with the default settings')
    if odd or len(resizers) != 1 or names[0] not in LOADING:
        raise _refused(f'is {", ".join(names)}', 'load an image and resize it once')
    step = resizers[0]
    scale, how = step.get('scale'), (step.get('interpolation', 'bilinear'), step.get('backend', 'cv2'))
    if scale is None or how != ('bilinear', 'cv2'):
        raise _refused(f'resizes with {step}', 'resize bilinearly with OpenCV to a scale in pixels')
    size = tuple(scale) if not isinstance(scale, int) else (scale, scale)
    return Resizing(size, bool(step.get('keep_ratio', False)), reads_upright(cfg, 'test'), _border(steps, size))


def _border(steps: list[dict], scale: tuple[int, int]) -> int | None:
    """Return the value of the pixels that the pipeline adds to a resized image to give it the sides of `scale`.

    Raises:
        UserError: it adds pixels in another way.
    """
    pads = [step for step in steps if step['type'] == 'Pad']
    if not pads:
        return None
    step, values = pads[0], pads[0].get('pad_val', 0)
    values = values.get('img', 0) if isinstance(values, dict) else values
    values = {*values} if isinstance(values, (list, tuple)) else {values}
    to_scale = tuple(step.get('size') or ()) == scale or (step.get('pad_to_square') and scale[0] == scale[1])
    others = set(step) - {'type', 'size', 'pad_to_square', 'pad_val'}
    if len(pads) > 1 or not to_scale or others or len(values) > 1 or step.get('padding_mode', 'constant') != 'constant':
        raise _refused(f'pads with {step}', 'pad once, with grey, up to the scale of the resize')
    return round(values.pop())


def _refused(what: str, possible: str) -> UserError:
    return UserError(f'the test pipeline {what}, but an exported detector can only {possible}: change '
                     'test_dataloader.dataset.pipeline, or predict from the checkpoint')

