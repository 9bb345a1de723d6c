"""What runs a detector."""
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ghostdet.infer.detections import Detections


class Engine(Protocol):
    """The interface that checkpoints, exported files and their tiled versions share.

    Attributes:
        classes: class names, in the order of the labels.
        upright: whether images are turned as their EXIF orientation says.
        batch: maximum number of images that the network takes at once.
        requests: number of threads that may call `run` at the same time.
        workers: number of threads that read, resize and call `run`, and so keep the cores busy.
        thresholds: `all`, and `classes` by name; None: unknown.
        max_objects: largest number of boxes for an image; None: no limit.
        bits: depth of images of more than 8 bits; None: as many as each uses.
        tile: side and overlap, in pixels, of the tiles that suit the images of the training; None: unknown.
        side: of the input, in pixels: the shorter one.
    """

    classes: tuple[str, ...]
    upright: bool
    thresholds: dict[str, Any] | None
    batch: int
    requests: int
    workers: int
    max_objects: int | None
    bits: int | None
    tile: tuple[int, int] | None
    side: int

    def prepare(self, image: bytes | np.ndarray) -> Any:
        """Prepare an image for `run`: the bytes of its file, or BGR pixels (H, W, 3) uint8. Safe in any thread."""

    def run(self, images: Sequence[Any]) -> list[Detections]:
        """Return all detections in each prepared image."""
