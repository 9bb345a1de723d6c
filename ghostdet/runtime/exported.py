"""An exported detector: images in, boxes out, with what the file says of itself. Needs no PyTorch."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghostdet.opencv import cv2
from ghostdet.runtime.detections import Detections
from ghostdet.runtime.images import check_whole, decode
from ghostdet.runtime.manifest import Manifest
from ghostdet.runtime.sessions import open_session


@dataclass(frozen=True)
class Prepared:
    """An image as the network takes it."""

    canvas: np.ndarray  # (1, H, W, 3) uint8, red first; zeros to the right and below
    size: np.ndarray  # (2,) int64: height and width of the image in it
    scale: tuple[float, float]  # by how much the image was resized, in width and in height
    original: tuple[int, int]  # height and width of the image in its file


class ExportedDetector:
    """A file that tools/export.py wrote.

    Args:
        file: .onnx, run by ONNX Runtime, or .xml, run by OpenVINO.
        precision: 'fp32', or 'bf16' for OpenVINO's files on processors that have it.
        threads: processor cores to use; None: all.

    Raises:
        UserError: the file cannot be opened or run here.
    """

    def __init__(self, file: str | Path, precision: str = 'fp32', threads: int | None = None) -> None:
        self.session = open_session(Path(file), precision, threads)
        self.manifest = self.session.manifest

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return self.manifest.classes

    def prepare(self, image: bytes | np.ndarray) -> Prepared:
        """An image's file, or its pixels (H, W, 3) uint8, blue first, as the network takes it. Safe in any thread."""
        return prepare(image, self.manifest)

    def run(self, image: Prepared) -> Detections:
        """All that the file finds; its own threshold of scores is that of the evaluation."""
        boxes, scores, labels = self.session.run(image.canvas, image.size)
        height, width = image.original
        boxes = boxes / np.array(image.scale * 2, np.float32)
        return Detections(boxes.clip(0, (width, height) * 2).astype(np.float32), scores, labels, self.classes, image.original)


def prepare(image: bytes | np.ndarray, manifest: Manifest) -> Prepared:
    """Decode, resize and pad, as in training and evaluation.

    Raises:
        Exception: of the decoders' many kinds; the image cannot be decoded.
    """
    if isinstance(image, bytes):
        check_whole(image)
        pixels, times = decode(image, manifest.target)
    else:
        pixels, times = image, 1
    height, width = (times * side for side in pixels.shape[:2])
    target = manifest.target(width, height)
    resized = pixels if target == pixels.shape[1::-1] else cv2.resize(pixels, target, interpolation=cv2.INTER_LINEAR)
    canvas: np.ndarray = np.zeros((1, *manifest.padded(*target), 3), np.uint8)
    cv2.cvtColor(resized, cv2.COLOR_BGR2RGB, dst=canvas[0, :target[1], :target[0]])
    return Prepared(canvas, np.array(target[::-1], np.int64), (target[0] / width, target[1] / height), (height, width))
