"""Run an exported detector: images in, boxes out. Needs no PyTorch."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ghostdet.images.decode import check_whole, decode
from ghostdet.images.opencv import cv2
from ghostdet.infer.detections import Detections
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.prefetch import grouped
from ghostdet.infer.sessions import Found, Session, open_session


@dataclass(frozen=True)
class Prepared:
    """An image that is ready for the network."""

    canvas: np.ndarray  # (1, H, W, 3) uint8, RGB; padded at the right and the bottom
    # (2,) int64: height and width of the image in the canvas; of the canvas if the manifest has a border
    size: np.ndarray
    scale: tuple[float, float]  # resize factors of width and height
    original: tuple[int, int]  # height and width of the original image


class ExportedDetector:
    """A detector in a file that `ghostdet export` wrote.

    Args:
        file: .onnx, run by ONNX Runtime, or .xml, run by OpenVINO.
        precision: 'fp32'; or 'bf16' for .xml files, on processors that support it.
        threads: number of CPU cores to use; None: all.
        ignore_orientation: take the pixels of image files as they lie in the file, also if the detector was trained
            otherwise.

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

    @property
    def batch(self) -> int:
        """Number of images that go through the file at once."""
        return self.manifest.batch

    def run(self, images: Sequence[Prepared]) -> list[Detections]:
        """Return all detections that the file outputs for each image.

        The file has already dropped those below its own score threshold.
        """
        return [self._detections(image, found)
                for image, found in zip(images, detect(self.session, images), strict=True)]

    def _detections(self, image: Prepared, found: Found) -> Detections:
        boxes, scores, labels = found
        height, width = image.original
        boxes = boxes / np.array(image.scale * 2, np.float32)
        return Detections(boxes.clip(0, (width, height) * 2).astype(np.float32), scores, labels, self.classes,
                          image.original)


def detect(session: Session, images: Sequence[Prepared]) -> list[Found]:
    """Run an opened file on images. Return boxes in pixels of their canvases.

    Only images with equal canvases go through the file together, so what is found in one does not depend on the others.
    """
    found: dict[int, Found] = {}
    for shape in {image.canvas.shape for image in images}:
        equal = [index for index, image in enumerate(images) if image.canvas.shape == shape]
        for group in grouped(equal, session.manifest.batch):
            found |= zip(group, _at_once(session, [images[index] for index in group]))
    return [found[index] for index in range(len(images))]


def _at_once(session: Session, images: Sequence[Prepared]) -> list[Found]:
    found = session.run(**inputs(images, session.manifest.batch))
    if session.manifest.batch == 1:
        return [(found[0], found[1], found[2])]
    *parts, owners = found
    boxes, scores, labels = parts
    return [(boxes[owners == index], scores[owners == index], labels[owners == index]) for index in range(len(images))]


def inputs(images: Sequence[Prepared], batch: int) -> dict[str, np.ndarray]:
    """Return `image` and `size`, the input of a file that takes `batch` images, for images with equal canvases.

    The last image stands in for missing ones.
    """
    images = [*images, *[images[-1]] * (batch - len(images))]
    sizes = np.stack([image.size for image in images])
    return dict(image=np.concatenate([image.canvas for image in images]), size=sizes if batch > 1 else sizes[0])


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
