"""Finds which detections hit which boxes at IoU 0.5, by COCO's own matching."""
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

IOU = 0.5
ALL_AREAS = [0, 1e10]  # square pixels, COCO's limits for boxes of any size
DETECTION: np.dtype = np.dtype([('id', int), ('image', int), ('label', int), ('score', float), ('box', int)])
BOX: np.dtype = np.dtype([('id', int), ('image', int), ('label', int)])


@dataclass(frozen=True)
class Matches:
    """The boxes and detections that COCO's evaluation counts, and which belong together.

    Crowd regions, and detections in them, are neither right nor wrong, and not here. In an image, each detection has
    taken the free box of its class that it covers best, the highest score first, as far as the IoU is at least 0.5.

    Attributes:
        classes: class names; labels are indices of it.
        images: ids of the images; `image` below is an index of it.
        detections: fields id, image, label, score, and box: the id of the box that it hits, or 0.
        boxes: fields id, image, label.
    """

    classes: tuple[str, ...]
    images: tuple[int | str, ...]
    detections: np.ndarray = field(default_factory=lambda: np.empty(0, DETECTION))
    boxes: np.ndarray = field(default_factory=lambda: np.empty(0, BOX))

    def above(self, threshold: float) -> 'Matches':
        """Return the matches without the detections that have a lower score. It changes no other match."""
        return Matches(self.classes, self.images, self.detections[self.detections['score'] >= threshold], self.boxes)

    def of_class(self, label: int) -> 'Matches':
        """Return the matches of one class."""
        return Matches(self.classes, self.images, self.detections[self.detections['label'] == label],
                       self.boxes[self.boxes['label'] == label])

    @property
    def wrong(self) -> np.ndarray:
        """The detections that hit no box."""
        return self.detections[self.detections['box'] == 0]

    @property
    def missed(self) -> np.ndarray:
        """The boxes that no detection hits."""
        return self.boxes[~np.isin(self.boxes['id'], self.detections['box'])]


def match(truth: COCO, results: COCO, categories: Iterable[int], max_objects: int, by_class: bool = True) -> COCOeval:
    """Match detections to boxes of some categories at IoU 0.5 alone.

    Args:
        max_objects: detections of an image that count, of each class.
        by_class: a detection can only hit a box of its class.
    """
    evaluation = COCOeval(truth, results, 'bbox')
    parameters = evaluation.params
    parameters.catIds = list(categories)
    parameters.iouThrs, parameters.areaRng, parameters.areaRngLbl = np.array([IOU]), [ALL_AREAS], ['all']
    parameters.maxDets, parameters.useCats = [max_objects], int(by_class)
    evaluation.evaluate()
    return evaluation


def matches_of(evaluation: COCOeval) -> Matches:
    """Return the matches at IoU 0.5 of an evaluation by pycocotools."""
    parameters, truth = evaluation.params, evaluation.cocoGt
    index = int(np.flatnonzero(np.isclose(parameters.iouThrs, IOU))[0])
    images = {image: number for number, image in enumerate(parameters.imgIds)}
    labels = {category: number for number, category in enumerate(parameters.catIds)}
    detections, boxes = list[tuple](), list[tuple]()
    for result in evaluation.evalImgs:
        if result is None or result['aRng'] != ALL_AREAS:
            continue
        image, label = images[result['image_id']], labels[result['category_id']]
        counted = ~result['dtIgnore'][index].astype(bool)
        found = zip(result['dtIds'], result['dtScores'], result['dtMatches'][index], counted)
        detections += [(id_, image, label, score, box) for id_, score, box, counts in found if counts]
        boxes += [(id_, image, label) for id_, ignored in zip(result['gtIds'], result['gtIgnore']) if not ignored]
    names = tuple(truth.cats[category]['name'] for category in labels)
    ids = tuple(np.array(parameters.imgIds).tolist())
    return Matches(names, ids, np.array(detections, DETECTION), np.array(boxes, BOX))


def confused(truth: COCO, results: COCO, matches: Matches) -> Iterator[tuple[int, int]]:
    """Yield the ids of a detection and of a box of another class that it covers with an IoU of at least 0.5.

    Only detections that hit nothing and boxes that are missed take part, the highest score first.
    """
    wrong, missed = ({int(id_) for id_ in records['id']} for records in (matches.wrong, matches.missed))
    if not (wrong and missed):
        return
    left = match(_only(truth, missed), _only(results, wrong), truth.getCatIds(), len(wrong), by_class=False)
    for result in left.evalImgs:
        if result is not None:
            pairs = zip(result['dtIds'], result['dtMatches'][0])
            yield from ((int(detection), int(box)) for detection, box in pairs if box)


def _only(coco: COCO, ids: Iterable[int]) -> COCO:
    """Return the data set with only these annotations."""
    part = COCO()
    part.dataset = dict(images=coco.dataset['images'], categories=coco.dataset['categories'],
                        annotations=[dict(coco.anns[id_]) for id_ in sorted(ids)])
    part.createIndex()
    return part
