"""The boxes that a detector finds in an image."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostdet.errors import PackageError, UserError, reason


@dataclass(frozen=True)
class Detections:
    """Boxes in one image, highest score first.

    Args:
        boxes: (N, 4) float32: left, top, right, bottom, in pixels of the original image (upright: EXIF rotation is
            applied).
        scores: (N,) float32, from 0 to 1.
        labels: (N,) int64, indices into `classes`.
        size: height and width of the original image, in pixels.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[str, float, tuple[float, ...]]]:
        """Yield class, score and box of each detection."""
        return zip(self.names, self.scores.tolist(), map(tuple, self.boxes.tolist()))

    @property
    def names(self) -> list[str]:
        """Class name of each box."""
        return [self.classes[label] for label in self.labels]

    @property
    def drawable(self) -> list[tuple[list[float], int, str]]:
        """Box, label and text of each detection, as `images.drawing.draw` takes them; the highest score last."""
        texts = [f'{name} {score:.2f}' for name, score in zip(self.names, self.scores.tolist())]
        return list(zip(self.boxes.tolist(), self.labels.tolist(), texts))[::-1]

    def above(self, threshold: float | Sequence[float] | np.ndarray) -> 'Detections':
        """Return the detections with a score of at least `threshold`: a number, or one for each class.

        Raises:
            UserError: it is neither.
        """
        try:
            limits = np.asarray(threshold, self.scores.dtype)
        except (TypeError, ValueError):
            limits = np.array(np.nan)
        if limits.shape not in ((), (len(self.classes),)) or np.isnan(limits).any() or isinstance(threshold, str):
            raise UserError(f'threshold={threshold!r}: expected a number, or {len(self.classes)}, one for each class')
        return self.where(self.scores >= (limits[self.labels] if limits.ndim else limits))

    def where(self, keep: np.ndarray | slice) -> 'Detections':
        """Return the detections that a mask (N,) or a slice keeps."""
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep], self.classes, self.size)

    def best(self, count: int | None) -> 'Detections':
        """Return the `count` detections with the highest scores; all if it is None."""
        return self.where(slice(count))

    def relabelled(self, labels: Sequence[int], classes: tuple[str, ...]) -> 'Detections':
        """Return the detections with labels of other classes.

        Args:
            labels: the label in `classes` for each label here; -1 drops its detections.
        """
        new = np.array(labels)[self.labels]
        keep = new >= 0
        return Detections(self.boxes[keep], self.scores[keep], new[keep], classes, self.size)

    def to_coco(self, image_id: int, category_ids: list[int] | None = None) -> list[dict]:
        """Return records in COCO's result format. Without `category_ids`, the category of a label is label + 1."""
        ids = category_ids or range(1, len(self.classes) + 1)
        sides = np.concatenate((self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]), axis=1)
        return [dict(image_id=image_id, category_id=ids[label], bbox=[round(value, 3) for value in box],
                     score=round(score, 6))
                for box, score, label in zip(sides.tolist(), self.scores.tolist(), self.labels.tolist())]

    def to_supervision(self) -> Any:
        """Return a `supervision.Detections` for trackers, zones and annotators; `data['class_name']` has the names.

        Raises:
            PackageError: the package supervision is missing or does not load.
        """
        try:
            import supervision
        except ImportError as error:
            raise PackageError('to_supervision needs the package supervision, which cannot be imported '
                               f'({reason(error)}). Run pip install supervision') from error
        return supervision.Detections(self.boxes, confidence=self.scores, class_id=self.labels,
                                      data=dict(class_name=np.array(self.names, str)))
