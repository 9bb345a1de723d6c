"""A detector to call: from a checkpoint or an exported file, whichever there is."""
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps

from ghostdet.errors import ImageError, UserError, reason
from ghostdet.opencv import cv2
from ghostdet.runtime.detections import Detections
from ghostdet.runtime.exported import ExportedDetector
from ghostdet.runtime.sessions import is_exported

Input = str | Path | bytes | np.ndarray | Image.Image
DEEP = 2 ** 16 - 1  # the largest value of a pixel of 16 bits


class Engine(Protocol):
    """What a checkpoint and an exported file have in common."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""

    def prepare(self, image: bytes | np.ndarray) -> Any:
        """An image's file, or its pixels (H, W, 3) uint8, blue first, as `run` takes it. Safe in any thread."""

    def run(self, image: Any) -> Detections:
        """All that is found."""


class Detector:
    """A trained detector.

    Args:
        model: a checkpoint of a training (.pth), which needs the training stack; or a file of tools/export.py (.onnx, .xml),
            which needs no PyTorch.
        precision: 'bf16' makes OpenVINO compute an .xml in bfloat16, on processors that have it.
        threads: processor cores to use; None: all.
        config: the config of a checkpoint that does not hold it; it takes the place of one that it holds.
        trust_checkpoint: open a checkpoint that holds more than data, which lets it run any program.

    Raises:
        UserError: the model cannot be opened here; the message says why, and what to do.

    Example:
        >>> detector = Detector('detector.xml')                                                      # doctest: +SKIP
        >>> for name, score, box in detector('street.jpg'):                                          # doctest: +SKIP
        ...     print(name, score, box)  # left, top, right, bottom in pixels
    """

    def __init__(self, model: str | Path, precision: str = 'fp32', threads: int | None = None, config: str | Path | None = None,
                 trust_checkpoint: bool = False) -> None:
        self.model = Path(model)
        if threads is not None and not 1 <= threads <= (os.cpu_count() or threads):
            raise UserError(f'{threads} threads: this machine can run 1 to {os.cpu_count()}')
        if is_exported(model):
            if config is not None or trust_checkpoint:
                raise UserError(f'{model} is an exported file, which has its settings in it: config and trust_checkpoint are for '
                                'checkpoints')
            self.engine: Engine = ExportedDetector(model, precision, threads)
        else:
            self.engine = _checkpoint(self.model, precision, threads, config, trust_checkpoint)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return self.engine.classes

    def __call__(self, image: Input, threshold: float = 0.3) -> Detections:
        """Find objects.

        Args:
            image: a file's path or its bytes; a picture of Pillow; or an array (H, W, 3), red first, or (H, W), (H, W, 1),
                (H, W, 4), of uint8 or uint16.
            threshold: the least score.

        Raises:
            ImageError: it is no image that can be read.
        """
        return self.run(self.prepare(image)).above(threshold)

    def prepare(self, image: Input) -> Any:
        """An image as `run` takes it; the two can be called in different threads.

        Raises:
            ImageError: it is no image that can be read.
        """
        name = f'the image {image}' if isinstance(image, (str, Path)) else 'the image'
        try:
            return self.engine.prepare(_content(image))
        except Exception as error:  # decoders raise many kinds for a damaged file; each means the same here
            raise ImageError(f'{name} cannot be read ({reason(error)})') from error

    def run(self, image: Any) -> Detections:
        """All that is found in a prepared image; a model's own least score is that of its evaluation."""
        return self.engine.run(image)


def _content(image: Input) -> bytes | np.ndarray:
    """An image's file, or its pixels (H, W, 3) uint8, blue first."""
    if isinstance(image, (str, Path)):
        return Path(image).read_bytes()
    if isinstance(image, bytes):
        return image
    return _blue_first(_array(image) if isinstance(image, Image.Image) else np.asarray(image))


def _array(image: Image.Image) -> np.ndarray:
    """Pixels of a picture of Pillow, which would clip what is deeper than 8 bits, and not convert it."""
    image = ImageOps.exif_transpose(image)
    pixels = np.asarray(image if image.mode.startswith(('I', 'F')) else image.convert('RGB'))
    in_range = pixels.dtype == np.int32 and pixels.min() >= 0 and pixels.max() <= DEEP
    return pixels.astype(np.uint16) if in_range else pixels


def _blue_first(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ValueError(f'its pixels are {pixels.dtype}, where uint8 or uint16 is needed')
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise ValueError(f'it is an array of shape {pixels.shape}, where (height, width, 1, 3 or 4) is needed')
    order = {1: cv2.COLOR_GRAY2BGR, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGR}
    return cv2.cvtColor(np.ascontiguousarray(pixels), order[pixels.shape[2]])


def _checkpoint(model: Path, precision: str, threads: int | None, config: str | Path | None, trust: bool) -> Engine:
    if not Path(str(model).removesuffix('?ema')).is_file():
        raise UserError(f'there is no checkpoint or exported file {model.absolute()}')
    if precision != 'fp32':
        raise UserError(f'a checkpoint runs in fp32 alone: {precision} is for files of tools/export.py --format openvino')
    try:
        from ghostdet.predict.checkpoint import CheckpointDetector
    except ImportError as error:
        raise UserError(f'{model} is a checkpoint, which needs the training stack ({reason(error)}): install it as docs/setup.md '
                        'says, or give a file that tools/export.py wrote (.onnx, .xml)') from error
    return CheckpointDetector(model, threads, config, trust)
