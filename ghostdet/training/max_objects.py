"""How many objects a detector returns for an image: reads it from a config, and changes it."""
from mmengine.config import Config

from ghostdet.errors import UserError
from ghostdet.evaluation.metrics import OWN
from ghostdet.messages import LOGGER
from ghostdet.training.config_file import parts
from ghostdet.training.datasets import EVALUATORS


def max_objects_of(cfg: Config) -> int | None:
    """Return the largest number of boxes that a config's detector returns for an image; None: all."""
    tests = cfg.model.get('test_cfg') or {}
    count = (tests.get('rcnn') or tests).get('max_per_img', -1)
    return count if count and count > 0 else None


def set_max_objects(cfg: Config, count: int) -> None:
    """Make a config's detector return at most `count` boxes for an image, and evaluate as many.

    Proposals and candidates are never fewer. A detector without a limit, such as YOLOX, keeps returning all boxes.

    Raises:
        UserError: `count` is below 1.
    """
    if count < 1:
        raise UserError(f'--max-objects {count}: expected at least 1')
    tests = cfg.model.get('test_cfg') or {}
    if max_objects_of(cfg) is None:
        LOGGER.info(f'--max-objects {count}: this detector returns all boxes above its score threshold; {count} of an '
                    'image are evaluated')
    for part in parts([tests]):
        limit = part.get('max_per_img') or -1
        if limit > 0:
            part['max_per_img'] = max(limit, count) if part is tests.get('rpn') else count
        for key in ('nms_pre', 'topk'):  # candidates of a level; of CenterNet's heat map
            if 0 < (part.get(key) or -1) < count:
                part[key] = count
    for name in EVALUATORS.values():
        evaluator = cfg.get(name) or {}
        if evaluator.get('type') == OWN:
            evaluator['max_objects'] = count
