"""What a config makes of its training data: which images and boxes it learns from, and at which size it sees them."""
from mmengine.config import Config
from mmengine.dist import get_world_size

from ghostdet.data.checked import Checked
from ghostdet.data.notes import Note, note
from ghostdet.images.resize import rescaled
from ghostdet.training.datasets import LOADERS, dataset_of, pipeline_steps

NARROW = 4  # pixels; a detector with a finest stride of 8 hardly finds narrower boxes
MANY = 0.01  # fraction of narrow boxes, from which on they are reported
MAX_FACTOR = 4  # a scale that helps is at most this many times the config's
STEP = 32  # a scale that helps is a multiple of it, in pixels
RESIZERS = ('Resize', 'RandomResize', 'RandomChoiceResize')


def fit_to_data(cfg: Config, train: Checked, keep_empty: bool) -> list[Note]:
    """Fit the train loader to its data, and return notes on what the run does with the data.

    With `keep_empty`, the run trains on images without a box. A batch that is larger than the set becomes as large as
    the set.
    """
    loader = cfg[LOADERS['train']]
    kept = _keep_empty(cfg, keep_empty)
    boxes = train.content['annotations']
    unused = [f'id {box["id"]}' for box in boxes if box.get('ignore') or min(box['bbox'][2:]) < 1]
    notes = [*note('images without a box, on which the run trains' if kept else
                   'images without a box, which the run leaves out (--keep-empty trains on them)', train.empty),
             *note('boxes that mmdet does not train on: smaller than a pixel, or marked as ignore', unused),
             *_narrow_boxes(cfg, train)]
    limit = max(1, trained_images(cfg, train) // get_world_size())
    if loader.batch_size > limit:
        notes.append(Note(f'a batch of {loader.batch_size} images is larger than the set, so it is now', limit, ()))
        loader.batch_size = limit
    return notes


def trained_images(cfg: Config, train: Checked) -> int:
    """Return how many images the run trains on: all, or those with a box."""
    return len(train.content['images']) - (0 if _keep_empty(cfg, False) else len(train.empty))


def _keep_empty(cfg: Config, wanted: bool) -> bool:
    """Make the train loader keep images without a box, if `wanted`. Return whether it keeps them."""
    dataset = dataset_of(cfg, 'train')
    if wanted:
        dataset.filter_cfg = {**(dataset.get('filter_cfg') or {}), 'filter_empty_gt': False}
    return not (dataset.get('filter_cfg') or {}).get('filter_empty_gt', False)


def _narrow_boxes(cfg: Config, train: Checked) -> list[Note]:
    """Return a note on boxes that are only a few pixels wide or high at the size at which the config sees them."""
    scale, keep_ratio = _scale(cfg)
    boxes = [box for box in train.content['annotations'] if not box.get('iscrowd')]
    if scale is None or not boxes:
        return []
    sizes = {image['id']: (image['width'], image['height']) for image in train.content['images']}
    sides = [_narrow_side(box['bbox'], sizes[box['image_id']], scale, keep_ratio) for box in boxes]
    narrow = sorted((side, index) for index, side in enumerate(sides) if side < NARROW)
    if len(narrow) < MANY * len(boxes):
        return []
    times = min(MAX_FACTOR, NARROW / max(narrow[len(narrow) // 10][0], 1e-6))  # nine of ten get NARROW pixels
    larger = tuple(-int(-side * times // STEP) * STEP for side in scale)
    factor = larger[0] / scale[0]
    left = sum(side * factor < NARROW for side in sides)
    what = (f'boxes narrower than {NARROW} pixels at the config\'s scale of {scale[0]}x{scale[1]}: '
            f'{len(narrow) / len(boxes):.1%} of all, and {left / len(boxes):.1%} at {larger[0]}x{larger[1]}')
    return note(what, (f'id {boxes[index]["id"]}' for _, index in narrow))


def _narrow_side(bbox: list[float], size: tuple[int, int], scale: tuple[int, int], keep_ratio: bool) -> float:
    """Return the smaller of a box's width and height after the resize, in pixels."""
    width, height = rescaled(*size, scale, keep_ratio)
    return min(bbox[2] * width / size[0], bbox[3] * height / size[1])


def _scale(cfg: Config) -> tuple[tuple[int, int] | None, bool]:
    """Return width and height to which the train pipeline resizes, and if it keeps the ratio; None if unknown."""
    for step in pipeline_steps(cfg, 'train', RESIZERS):
        scale = step.get('scale') or step.get('scales')
        if isinstance(scale, (list, tuple)) and scale and isinstance(scale[0], (list, tuple)):
            scale = scale[len(scale) // 2]  # one of several, by chance
        scale = (scale, scale) if isinstance(scale, int) else scale
        if (isinstance(scale, (list, tuple)) and len(scale) == 2
                and all(isinstance(side, int) and side > 0 for side in scale)):
            return (scale[0], scale[1]), step.get('keep_ratio', step['type'] != 'Resize')
    return None, False
