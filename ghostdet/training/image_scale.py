"""The size at which a config sees images: reads it, and changes it in all pipelines."""
from collections.abc import Iterable
from typing import Any

from mmengine.config import Config

from ghostdet.data.overview import cut_command
from ghostdet.errors import UserError
from ghostdet.messages import LOGGER
from ghostdet.training.config_file import parts
from ghostdet.training.datasets import pipeline_steps

MAX_SIDE = 8192  # pixels; larger images do not fit into memory with their maps
STEP = 32  # sides are multiples of it, in pixels, if those of the config are
RESIZERS = ('Resize', 'RandomResize', 'RandomChoiceResize', 'DecodeAndResize')
# Settings of transforms and batch augments that are sides of images, in pixels.
SIZES = ('scale', 'scales', 'img_scale', 'crop_size', 'size', 'max_size', 'random_size_range')


def scale_of(cfg: Config, name: str) -> tuple[tuple[int, int] | None, bool]:
    """Return width and height to which the pipeline of the loader `name` resizes, and whether it keeps the ratio.

    The scale is None if the pipeline has no resize to a size in pixels.
    """
    for step in pipeline_steps(cfg, name, RESIZERS):
        scale = step.get('scale') or step.get('scales')
        if isinstance(scale, (list, tuple)) and scale and isinstance(scale[0], (list, tuple)):
            scale = scale[len(scale) // 2]  # one of several, by chance
        scale = (scale, scale) if isinstance(scale, int) else scale
        if (isinstance(scale, (list, tuple)) and len(scale) == 2
                and all(isinstance(side, int) and side > 0 for side in scale)):
            return (scale[0], scale[1]), bool(step.get('keep_ratio', False))
    return None, False


def set_scale(cfg: Config, side: int) -> None:
    """Change the size of images in all pipelines and batch augments of a config, in proportion.

    Args:
        side: longer side of the test pipeline's scale, in pixels.

    Raises:
        UserError: the test pipeline has no scale, or `side` does not fit it.
    """
    scale, _ = scale_of(cfg, 'test')
    if scale is None:
        raise UserError(f'--scale {side}: the config\'s test pipeline has no Resize to a size in pixels. Leave out '
                        '--scale, and set the sizes in the config')
    old = max(scale)
    step = 1 if old % STEP else STEP
    if side > MAX_SIDE:
        raise UserError(f'--scale {side}: expected at most {MAX_SIDE} pixels. Cut larger images into tiles: '
                        f'{cut_command(old)}')
    if side < 1 or side % step:
        nearest = [str(near) for near in (side // step * step, (side // step + 1) * step) if near > 0] or [str(step)]
        raise UserError(f'--scale {side}: expected a multiple of {step} pixels, as in the config, such as '
                        f'{" or ".join(nearest)}')

    def changed(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(changed(one) for one in value)
        if type(value) is not int or value <= 0:
            return value
        own = 1 if value % step else step
        return max(own, round(value * side / old / own) * own)
    for part in _steps(cfg):
        if not str(part.get('crop_type', '')).startswith('relative'):
            part.update({key: changed(part[key]) for key in SIZES if key in part})
        if isinstance(part.get('border'), (list, tuple)):  # negative: half a side, which is cut off a mosaic
            part['border'] = tuple(-changed(-2 * one) // 2 for one in part['border'])
    width, height = changed(scale)
    LOGGER.info(f'--scale: images are resized to {width}x{height} in place of {scale[0]}x{scale[1]} in tests, and in '
                'proportion in training')


def _steps(cfg: Config) -> Iterable[dict]:
    """Return the dicts in all pipelines and batch augments of a config. Each comes once, also if loaders share it."""
    found = [part for node in (cfg, *parts(cfg.values())) for key, value in node.items()
             if ('pipeline' in str(key) or key == 'batch_augments') and isinstance(value, (list, tuple))
             for part in parts(value)]
    return {id(part): part for part in found}.values()
