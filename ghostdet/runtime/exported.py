"""Run an exported detector: images in, boxes out. Needs no PyTorch."""
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ghostdet.opencv import cv2
from ghostdet.runtime.detections import Detections
from ghostdet.runtime.images import check_whole, decode
from ghostdet.runtime.manifest import Manifest
from ghostdet.runtime.sessions import open_session


@dataclass(frozen=True)
class Prepared:
    """An image that is ready for the network."""

    canvas: np.ndarray  # (1, H, W, 3) uint8, RGB; padded at the right and the bottom
    size: np.ndarray  # (2,) int64: height and width of the image in the canvas; of the canvas if the manifest has a border
    scale: tuple[float, float]  # resize factors of width and height
    original: tuple[int, int]  # height and width of the original image


class ExportedDetector:
    """A detector in a file that `ghostdet export` wrote.

    Args:
        file: .onnx, run by ONNX Runtime, or .xml, run by OpenVINO.
        precision: 'fp32'; or 'bf16' for .xml files, on processors that support it.
        threads: number of CPU cores to use; None: all.
        ignore_orientation: take the pixels of image files as they lie in the file, also if the detector was trained otherwise.

    Raises:
        UserError: the file cannot be opened or run on this machine.
    """

    def __init__(self, file: str | Path, precision: str = 'fp32', threads: int | None = None,
                 ignore_orientation: bool = False) -> None:
        self.session = open_session(Path(file), precision, threads)
        self.manifest = self.session.manifest
        if ignore_orientation:
            self.manifest = replace(self.manifest, upright=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.manifest.classes

    @property
    def upright(self) -> bool:
        """Whether images are turned as their EXIF orientation says."""
        return self.manifest.upright

    def prepare(self, image: bytes | np.ndarray) -> Prepared:
        """Decode, resize and pad an image: the bytes of its file, or BGR pixels (H, W, 3) uint8. Safe in any thread."""
        return prepare(image, self.manifest)

    def run(self, image: Prepared) -> Detections:
        """Return all detections that the file outputs. It has already dropped those below its own score threshold."""
        boxes, scores, labels = self.session.run(image.canvas, image.size)
        height, width = image.original
        boxes = boxes / np.array(image.scale * 2, np.float32)
        return Detections(boxes.clip(0, (width, height) * 2).astype(np.float32), scores, labels, self.classes, image.original)


def prepare(image: bytes | np.ndarray, manifest: Manifest) -> Prepared:
    """Decode, resize and pad an image, as in training and evaluation.

    Args:
        image: the bytes of its file, or BGR pixels (H, W, 3) uint8.

    Raises:
        Exception: the image cannot be decoded; the type depends on the decoder.
    """
    if isinstance(image, bytes):
        check_whole(image)
        pixels, times = decode(image, manifest.target, manifest.upright)
    else:
        pixels, times = image, 1
    height, width = (times * side for side in pixels.shape[:2])
    target = manifest.target(width, height)
    resized = pixels if target == pixels.shape[1::-1] else cv2.resize(pixels, target, interpolation=cv2.INTER_LINEAR)
    sides = manifest.padded(*target)
    canvas: np.ndarray = np.full((1, *sides, 3), manifest.border or 0, np.uint8)
    cv2.cvtColor(resized, cv2.COLOR_BGR2RGB, dst=canvas[0, :target[1], :target[0]])
    size = np.array(target[::-1] if manifest.border is None else sides, np.int64)
    return Prepared(canvas, size, (target[0] / width, target[1] / height), (height, width))
