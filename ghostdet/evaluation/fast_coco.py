"""Evaluates boxes with faster-coco-eval, an optional package: the same numbers as pycocotools in less time."""
from importlib.util import find_spec
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ghostdet.errors import UserError

SETTINGS = ('iouThrs', 'recThrs', 'maxDets', 'areaRng', 'areaRngLbl')


def check_installed() -> None:
    """Check that faster-coco-eval is installed.

    Raises:
        UserError: it is missing; the message says what to install.
    """
    if find_spec('faster_coco_eval') is None:
        raise UserError('the fast evaluation needs faster-coco-eval, which is not installed: pip install '
                        'faster-coco-eval; or leave out --fast-eval: same numbers, more time')


class FastCOCOeval(COCOeval):
    """pycocotools' COCOeval for boxes, with matching and accumulation by faster-coco-eval.

    On its own, faster-coco-eval 1.8 gives other numbers in some cases. This class avoids three of them:

    - The summary is that of pycocotools: AP at 100 detections per image, not at the largest `maxDets`.
    - Ids are numbered again from 1, because faster-coco-eval stores them as floats or positive integers.
    - Records keep only COCO's keys, because faster-coco-eval reads `is_crowd` as `iscrowd`.

    Raises:
        ValueError: `iouType` is not 'bbox'.
        UserError: the package is missing; or, from `evaluate`, scores or boxes are not finite, which the two count
        differently.
    """

    def __init__(self, cocoGt: COCO, cocoDt: COCO, iouType: str = 'bbox') -> None:  # noqa: N803  (pycocotools' names)
        if iouType != 'bbox':
            raise ValueError(f'iouType is {iouType!r}, but this class evaluates only boxes (\'bbox\')')
        check_installed()
        super().__init__(cocoGt, cocoDt, iouType)

    def evaluate(self) -> None:
        """Match detections to boxes for each image and class, and accumulate."""
        import faster_coco_eval as faster

        asked = self.params
        asked.imgIds, asked.catIds = [*np.unique(asked.imgIds)], [*np.unique(asked.catIds)]
        asked.maxDets = sorted(asked.maxDets)
        numbers = [{name: number for number, name in enumerate(names, 1)} for names in (asked.imgIds, asked.catIds)]
        images, categories = ([dict(id=number) for number in kind.values()] for kind in numbers)
        truth, results = (faster.COCO(dict(images=images, categories=categories, annotations=_copies(coco, *numbers)))
                        for coco in (self.cocoGt, self.cocoDt))
        fast = faster.COCOeval_faster(truth, results, 'bbox')
        for name in SETTINGS:
            setattr(fast.params, name, getattr(asked, name))
        fast.evaluate()
        self.eval = fast.eval

    def accumulate(self, p: Any = None) -> None:
        """Do nothing: `evaluate` also accumulates."""


def _copies(coco: COCO, images: dict, categories: dict) -> list[dict]:
    """Return the records of these images and categories with new ids. An id of 0 stays: both packages count it as
    not matched.

    Raises:
        UserError: scores or boxes are not finite.
    """
    records = [coco.anns[record['id']] for record in coco.dataset['annotations']]
    records = [record for record in records if record['image_id'] in images and record['category_id'] in categories]
    if not np.isfinite([(record.get('score', 0), record['area'], *record['bbox']) for record in records]).all():
        raise UserError('some scores or boxes are not finite, and faster-coco-eval counts them differently from '
                        'pycocotools: leave out --fast-eval')
    return [dict(id=number if record['id'] else 0, image_id=images[record['image_id']], area=record['area'],
                 category_id=categories[record['category_id']], bbox=record['bbox'], iscrowd=int(record['iscrowd']),
                 score=record.get('score', 0)) for number, record in enumerate(records, 1)]
