"""COCO's evaluation of boxes by faster-coco-eval, an optional package: pycocotools' numbers in less time."""
from importlib.util import find_spec
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ghostdet.errors import UserError

SETTINGS = ('iouThrs', 'recThrs', 'maxDets', 'areaRng', 'areaRngLbl')


def check_installed() -> None:
    """Refuse where the package is missing.

    Raises:
        UserError: so it is; the message says what to install.
    """
    if find_spec('faster_coco_eval') is None:
        raise UserError('the fast evaluation needs faster-coco-eval, which is not installed: pip install faster-coco-eval, or '
                        'the extra [fast-eval] of ghostdet; or leave --fast-eval (FastCocoMetric) out, for the same numbers')


class FastCOCOeval(COCOeval):
    """pycocotools' evaluation of boxes, whose matching and accumulating faster-coco-eval does.

    Left to itself faster-coco-eval 1.8 gives other numbers in some cases, so that three things are not left to it. The summary is
    pycocotools' own, which takes AP at 100 detections an image and not at the most of `maxDets`. Ids, which it holds as floats
    or as positive integers, are numbered anew. And records keep COCO's keys alone: it would take `is_crowd` for `iscrowd`.

    Raises:
        ValueError: something else than boxes is asked for.
        UserError: the package is missing; or, from `evaluate`, scores or boxes are not finite, which the two count differently.
    """

    def __init__(self, cocoGt: COCO, cocoDt: COCO, iouType: str = 'bbox') -> None:  # noqa: N803  (pycocotools' names)
        if iouType != 'bbox':
            raise ValueError(f'iouType is {iouType!r}, and this evaluates boxes alone')
        check_installed()
        super().__init__(cocoGt, cocoDt, iouType)

    def evaluate(self) -> None:
        """Match detections to boxes, image by image and class by class, and accumulate."""
        import faster_coco_eval as faster

        asked = self.params
        asked.imgIds, asked.catIds, asked.maxDets = [*np.unique(asked.imgIds)], [*np.unique(asked.catIds)], sorted(asked.maxDets)
        numbers = [{name: number for number, name in enumerate(names, 1)} for names in (asked.imgIds, asked.catIds)]
        images, categories = ([dict(id=number) for number in kind.values()] for kind in numbers)
        truth, found = (faster.COCO(dict(images=images, categories=categories, annotations=_copies(coco, *numbers)))
                        for coco in (self.cocoGt, self.cocoDt))
        fast = faster.COCOeval_faster(truth, found, 'bbox')
        for name in SETTINGS:
            setattr(fast.params, name, getattr(asked, name))
        fast.evaluate()
        self.eval = fast.eval

    def accumulate(self, p: Any = None) -> None:
        """Done by `evaluate`."""


def _copies(coco: COCO, images: dict, categories: dict) -> list[dict]:
    """The records of these images and categories, by their numbers; an id of 0 stays, which both count as "not found"."""
    records = [coco.anns[record['id']] for record in coco.dataset['annotations']]
    records = [record for record in records if record['image_id'] in images and record['category_id'] in categories]
    if not np.isfinite([(record.get('score', 0), record['area'], *record['bbox']) for record in records]).all():
        raise UserError('there are scores or boxes that are not finite, and faster-coco-eval does not count them as pycocotools '
                        'does: leave --fast-eval (FastCocoMetric) out')
    return [dict(id=number if record['id'] else 0, image_id=images[record['image_id']], area=record['area'],
                 category_id=categories[record['category_id']], bbox=record['bbox'], iscrowd=int(record['iscrowd']),
                 score=record.get('score', 0)) for number, record in enumerate(records, 1)]
