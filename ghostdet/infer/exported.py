"""Run an exported detector: images in, boxes out. Needs no PyTorch."""
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ghostdet.errors import UserError
from ghostdet.images.decode import check_whole, decode
from ghostdet.images.opencv import cv2
from ghostdet.infer.decoding import Instances
from ghostdet.infer.detections import Detections
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.opening import open_checked
from ghostdet.infer.ordered import grouped
from ghostdet.infer.sessions import Session
from ghostdet.options import valid_thresholds


@dataclass(frozen=True)
class NetworkInput:
    """An image that is ready for the network.

    Attributes:
        canvas: (1, H, W, 3) uint8, RGB; padded at the right and the bottom.
        size: (2,) int64: height and width of the image in the canvas; of the canvas if the manifest has a border.
        scale: resize factors of width and height.
        original: height and width of the original image.
    """

    canvas: np.ndarray
    size: np.ndarray
    scale: tuple[float, float]
    original: tuple[int, int]


class ExportedDetector:
    """A detector in a file that `ghostdet export` wrote.

    Args:
        file: .onnx, run by ONNX Runtime; .xml, run by OpenVINO; or .ncnn.param, run by ncnn.
        precision: 'fp32'; or 'bf16' for .xml files, on processors that support it.
        threads: number of CPU cores to use; None: all that this process may use.
        ignore_orientation: take the pixels of image files as they lie in the file, also if the detector was trained
            otherwise.
        bits: depth of images of more than 8 bits; None: that of the file, if it has one.
        self_check: False: do not check whether this machine computes the file right.
        requests: number of threads that may call `run` at the same time. Each call has its share of the cores.

    Raises:
        UserError: the file cannot be opened on this machine, or is computed wrong here.
    """

    def __init__(self, file: str | Path, precision: str = 'fp32', threads: int | None = None,
                 ignore_orientation: bool = False, self_check: bool = True, bits: int | None = None,
                 requests: int = 1) -> None:
        self.session, self.process = open_checked(Path(file), precision, threads, self_check, requests), os.getpid()
        self.requests, self.workers = requests, max(2, requests)
        manifest = self.session.manifest
        self.classes, self.batch, self.max_objects = manifest.classes, manifest.batch, manifest.max_objects
        self.thresholds = valid_thresholds(manifest.thresholds, manifest.classes)
        self.upright = manifest.upright and not ignore_orientation
        self.bits, self.tile = bits or manifest.bits, manifest.tile
        self.side = min(manifest.canvas or manifest.scale)
        self.manifest = replace(manifest, upright=self.upright, bits=self.bits)

    def prepare(self, image: bytes | np.ndarray) -> NetworkInput:
        """Decode, resize and pad an image: the bytes of its file, or BGR pixels (H, W, 3) uint8. Safe in any thread."""
        return prepare(image, self.manifest)

    def run(self, images: Sequence[NetworkInput]) -> list[Detections]:
        """Return all detections that the file outputs for each image.

        The file has already dropped those below its own score threshold.

        Raises:
            UserError: this process was forked after the file was opened. The runtime's threads are in the other one,
                and would be waited for forever.
        """
        if os.getpid() != self.process:
            raise UserError('the detector was opened before this process was forked, and cannot run here: open it in '
                            'the new process, or start that with multiprocessing.get_context("spawn")')
        results = []
        for image, (boxes, scores, labels) in zip(images, detect(self.session, images), strict=True):
            height, width = image.original
            boxes = (boxes / np.array(image.scale * 2, np.float32)).clip(0, (width, height) * 2).astype(np.float32)
            results.append(Detections(boxes, scores, labels, self.classes, image.original))
        return results


def detect(session: Session, images: Sequence[NetworkInput]) -> list[Instances]:
    """Run an opened file on images. Return boxes in pixels of their canvases.

    Only images with equal canvases go through the file together, so the result of one does not depend on the others.
    """
    results: dict[int, Instances] = {}
    for shape in {image.canvas.shape for image in images}:
        equal = [index for index, image in enumerate(images) if image.canvas.shape == shape]
        for group in grouped(equal, session.manifest.batch):
            boxes, scores, labels, *owners = session.run(**inputs([images[index] for index in group],
                                                                  session.manifest.batch))
            for position, index in enumerate(group):
                own = owners[0] == position if owners else slice(None)
                results[index] = boxes[own], scores[own], labels[own]
    return [results[index] for index in range(len(images))]


def inputs(images: Sequence[NetworkInput], batch: int) -> dict[str, np.ndarray]:
    """Return `image` and `size`, the input of a file that takes `batch` images, for images with equal canvases.

    The last image stands in for missing ones.
    """
    images = [*images, *[images[-1]] * (batch - len(images))]
    sizes = np.stack([image.size for image in images])
    return dict(image=np.concatenate([image.canvas for image in images]), size=sizes if batch > 1 else sizes[0])


def prepare(image: bytes | np.ndarray, manifest: Manifest) -> NetworkInput:
    """Decode, resize and pad an image, as in training and evaluation.

    Args:
        image: the bytes of its file, or BGR pixels (H, W, 3) uint8.

    Raises:
        Exception: the image cannot be decoded; the type depends on the decoder.
    """
    if isinstance(image, bytes):
        check_whole(image)
        pixels, times = decode(image, manifest.target, manifest.upright, manifest.bits)
    else:
        pixels, times = image, 1
    height, width = (times * side for side in pixels.shape[:2])
    target = manifest.target(width, height)
    resized = pixels if target == pixels.shape[1::-1] else cv2.resize(pixels, target, interpolation=cv2.INTER_LINEAR)
    sides = manifest.padded(*target)
    canvas: np.ndarray = np.full((1, *sides, 3), manifest.border or 0, np.uint8)
    cv2.cvtColor(resized, cv2.COLOR_BGR2RGB, dst=canvas[0, :target[1], :target[0]])
    size = np.array(target[::-1] if manifest.border is None else sides, np.int64)
    return NetworkInput(canvas, size, (target[0] / width, target[1] / height), (height, width))
