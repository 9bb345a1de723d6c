"""What a config makes of its training data: which images and boxes it learns from, and at which size it sees them."""
from collections import Counter

import numpy as np
from mmengine.config import Config
from mmengine.dist import get_world_size

from ghostdet.data.checked import Checked
from ghostdet.data.notes import Note, note
from ghostdet.data.overview import cut_command
from ghostdet.data.tiled import usual_tile
from ghostdet.images.resize import rescaled
from ghostdet.messages import LOGGER, shorten
from ghostdet.training.datasets import LOADERS, dataset_of
from ghostdet.training.image_scale import STEP, scale_of
from ghostdet.training.max_objects import max_objects_of

SMALL = 16  # pixels, of the square root of a box's area: two strides of a finest stride of 8
NOTED, WARNED = 0.01, 0.2  # fractions of small boxes, above which they are reported in a note and in a warning
MAX_FACTOR = 4  # a scale that helps is at most this many times the config's
ROUND = 50  # a limit of objects that helps is a multiple of it


def fit_to_data(cfg: Config, train: Checked, keep_empty: bool) -> list[Note]:
    """Fit the train loader and the tiles to the data, and return notes on what the run does with the data.

    With `keep_empty`, the run trains on images without a box. A batch that is larger than the set becomes as large as
    the set.
    """
    loader = cfg[LOADERS['train']]
    cfg.tile = list(usual_tile(train.content))  # for predictions in larger images
    kept = _keep_empty(cfg, keep_empty)
    boxes = train.content['annotations']
    unused = [f'id {box["id"]}' for box in boxes if box.get('ignore') or min(box['bbox'][2:]) < 1]
    notes = [*note('images without a box, on which the run trains' if kept else
                   'images without a box, which the run leaves out (--keep-empty trains on them)', train.empty),
             *note('boxes that mmdet does not train on: smaller than a pixel, or marked as ignore', unused),
             *_small_boxes(cfg, train)]
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


def _small_boxes(cfg: Config, train: Checked) -> list[Note]:
    """Return a note on boxes that are small at the size at which the config sees them. If they are many, warn."""
    (scale, keep_ratio), boxes = scale_of(cfg, 'train'), _boxes(train)
    if scale is None or not boxes:
        return []
    sides = _sides(train.content['images'], boxes, scale, keep_ratio)
    small = sides < SMALL
    if small.mean() <= NOTED:
        return []
    factor = SMALL / max(float(np.quantile(sides[small], 0.1, method='lower')), 1e-6)
    base = max(scale_of(cfg, 'test')[0] or scale)
    cure = (f'--scale {-int(-base * factor // STEP) * STEP} brings nine of ten of them to {SMALL} pixels'
            if factor <= MAX_FACTOR else
            f'nine of ten of them reach {SMALL} pixels at no reasonable scale: cut the images into '
            f'tiles with {cut_command(base)}')
    what = f'smaller than {SMALL} pixels at the config\'s scale of {scale[0]}x{scale[1]}'
    worst = shorten(_worst(train.content['categories'], boxes, small))
    if small.mean() > WARNED:
        LOGGER.warning(f'\nATTENTION: {small.mean():.0%} of the boxes are {what}. A detector misses many of these '
                       f'({worst}): {cure}.\n')
        return []
    return [Note(f'boxes {what} ({worst}; {cure})', int(small.sum()), ())]


def _boxes(train: Checked) -> list[dict]:
    return [box for box in train.content['annotations'] if not box.get('iscrowd')]


def _sides(images: list[dict], boxes: list[dict], scale: tuple[int, int], keep_ratio: bool) -> np.ndarray:
    """Return the square root of the area of each box after the resize to `scale`, in pixels."""
    sizes: np.ndarray = np.array([(image['width'], image['height']) for image in images], float)
    resized = [rescaled(image['width'], image['height'], scale, keep_ratio) for image in images]
    factors = (np.array(resized) / sizes).prod(axis=1)
    rows = {image['id']: row for row, image in enumerate(images)}
    owners = np.array([rows[box['image_id']] for box in boxes])
    areas = np.array([box['bbox'][2] * box['bbox'][3] for box in boxes])
    return np.sqrt(areas * factors[owners])


def _worst(categories: list[dict], boxes: list[dict], small: np.ndarray) -> list[str]:
    """Return the classes with the largest fractions of small boxes, with these; the largest first."""
    totals = Counter(box['category_id'] for box in boxes)
    counts = Counter(box['category_id'] for box, is_small in zip(boxes, small) if is_small)
    shares = {category['name']: counts[category['id']] / totals[category['id']] for category in categories
              if counts[category['id']]}
    return [f'{name} {share:.0%}' for name, share in sorted(shares.items(), key=lambda pair: -pair[1])]


def many_objects(cfg: Config, checked: Checked) -> list[Note]:
    """Return a note on images with more objects than the config's detector returns."""
    limit, counts = max_objects_of(cfg), _counts(checked)
    full = sum(count > limit for count in counts) if limit else 0
    if not full:
        return []
    return [Note(f'images with more objects than the {limit} that the detector returns (at most {max(counts)}: '
                 f'--max-objects {max_objects_for(checked)} returns and counts them all)', full, ())]


def max_objects_for(checked: Checked) -> int:
    """Return a limit of boxes for an image that has room for the objects of each image."""
    return (max(_counts(checked), default=0) // ROUND + 1) * ROUND


def _counts(checked: Checked) -> list[int]:
    """Return the number of objects in each image that has any."""
    return [*Counter(box['image_id'] for box in _boxes(checked)).values()]
