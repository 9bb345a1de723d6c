"""Call a trained detector from Python: a checkpoint or an exported file."""
import math
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ghostdet.errors import ImageError, UserError, reason
from ghostdet.images.decode import check_bits, decode, eight_bits, pixels_of
from ghostdet.images.exif import orientation, oriented
from ghostdet.images.listing import check_format
from ghostdet.images.opencv import cv2
from ghostdet.infer.detections import Detections
from ghostdet.infer.engine import Engine
from ghostdet.infer.exported import ExportedDetector
from ghostdet.infer.sessions import is_exported
from ghostdet.infer.tiles import TiledEngine, Tiles
from ghostdet.messages import shorten
from ghostdet.options import DEFAULT_THRESHOLD, worded_for_python

Input = str | Path | bytes | np.ndarray | Image.Image


class Detector:
    """A trained detector that finds objects in images.

    Args:
        model: a checkpoint (.pth, the folder of a run, or ghostdet://NAME for a published detector), which needs the
            training stack; or a file of "ghostdet export" (.onnx, .xml), which needs no PyTorch.
        precision: 'fp32'; or 'bf16' for .xml files, on processors that support it.
        threads: number of CPU cores to use; None: all that this process may use.
        config: config file of the checkpoint. It is needed if the checkpoint does not contain its config. Otherwise it
            replaces that, and must have the same network.
        trust_checkpoint: also open a checkpoint that holds more than data. Such a file can run any program with your
            rights.
        ignore_orientation: take the pixels of image files as they lie in the file, not turned as EXIF says. A detector
            that was trained so does it anyway.
        self_check: an exported file that is opened for the first time on a machine is checked: does this machine
            compute what the exporter's did? False: open it without.
        bits: number of bits that images of more than 8 bits use, for example 12. None: those of the images that the
            detector was trained on; if it had none of more than 8 bits, as many as each image uses.
        tiles: cut images into overlapping tiles, for small objects in large images: True for tiles that suit the
            detector, their side in pixels, or `ghostdet.infer.tiles.Tiles`. False: images are resized as a whole.
        requests: number of images that an exported file works on at the same time, each with its share of the cores.
            For many images, from as many threads, this is faster than one image on all cores.

    Attributes:
        classes: class names, in the order of the labels.
        batch: maximum number of images that the network takes at once: 1, or `batch` of the export.
        threshold: the confidence threshold with the best F1 when the detector was last evaluated; 0.3 if it is not
            known.
        class_thresholds: that of each class by itself, in the order of the classes.
        max_objects: largest number of boxes that the model returns for an image; None: no limit.

    Raises:
        UserError: the model cannot be opened on this machine, or is computed wrong here; the message says why, and what
            to do.

    Examples:
        >>> detector = Detector('detector.xml')                                                      # doctest: +SKIP
        >>> for name, score, box in detector('street.jpg'):                                          # doctest: +SKIP
        ...     print(name, score, box)  # left, top, right, bottom in pixels
    """

    def __init__(self, model: str | Path, precision: str = 'fp32', threads: int | None = None,
                 config: str | Path | None = None,
                 trust_checkpoint: bool = False, ignore_orientation: bool = False, self_check: bool = True,
                 bits: int | None = None, tiles: Tiles | bool | int = False, requests: int = 1) -> None:
        self.model = str(model)
        where = self.model if '://' in self.model else os.path.abspath(self.model)  # also right in another folder
        self._arguments = (where, precision, threads, config, trust_checkpoint, ignore_orientation, self_check, bits,
                           tiles, requests)
        if threads is not None and not 1 <= threads <= (os.cpu_count() or threads):
            raise UserError(f'{threads} threads: this machine can run 1 to {os.cpu_count()}')
        if is_exported(model) and (config is not None or trust_checkpoint):
            raise UserError(f'{model} is an exported file and contains its settings: config and trust_checkpoint are '
                            'for checkpoints only')
        try:
            with worded_for_python():
                check_bits(bits)
                self.engine: Engine = (
                    ExportedDetector(model, precision, threads, ignore_orientation, self_check, bits, requests)
                    if is_exported(model) else
                    _checkpoint(self.model, precision, threads, config, trust_checkpoint, ignore_orientation, bits))
                if tiles is not False:
                    self.engine = TiledEngine(self.engine, tiles if isinstance(tiles, Tiles) else
                                              Tiles(None if tiles is True else tiles))
        except UserError as error:  # the option of `evaluate` is the opposite
            error.args = (str(error).replace('no_self_check=True', 'self_check=False'),)
            raise
        self.classes, self.batch = self.engine.classes, self.engine.batch
        known = self.engine.thresholds or {}
        self.threshold: float = known.get('all', DEFAULT_THRESHOLD)
        self.class_thresholds = [known.get('classes', {}).get(name, self.threshold) for name in self.classes]
        self.max_objects = self.engine.max_objects

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments: another process opens the model itself."""
        return type(self), self._arguments

    @property
    def knows_threshold(self) -> bool:
        """Whether the detector was evaluated, so that `threshold` is its own."""
        return self.engine.thresholds is not None

    def __call__(self, image: Input, threshold: float | Sequence[float] | None = None) -> Detections:
        """Find objects in an image.

        Args:
            image: path or bytes of an image file; a Pillow image; or an array: RGB (H, W, 3), grey (H, W) or (H, W, 1),
                RGBA (H, W, 4). Other types than uint8 are converted by `ghostdet.images.decode.eight_bits`.
            threshold: confidence threshold; detections with a lower score are dropped. A sequence has one for each
                class, such as `class_thresholds`. None: the detector's `threshold`.

        Raises:
            ImageError: the image cannot be read.
        """
        return self.run([self.prepare(image)])[0].above(self.threshold if threshold is None else threshold)

    def thresholds_for(self, classes: Sequence[str], threshold: float | Sequence[float] | None = None) -> list[float]:
        """Return a threshold for each class, for `__call__`, that drops every class but `classes`.

        Args:
            classes: names of the classes to keep.
            threshold: of the classes that are kept, as in `__call__`.

        Raises:
            UserError: the detector has no class of such a name.
        """
        unknown = next((name for name in classes if name not in self.classes), None)
        if unknown is not None:
            similar = get_close_matches(unknown.lower(), [name.lower() for name in self.classes])
            close = [name for name in self.classes if name.lower() in similar]
            raise UserError(f'{self.model} has no class {unknown!r}. It has {len(self.classes)} classes'
                            f'{", close ones are" if close else ":"} {shorten(close or self.classes)}'
                            + '. Give each name by itself' * (',' in unknown))
        limits = np.asarray(self.threshold if threshold is None else threshold)
        limits = limits if limits.ndim else limits.repeat(len(self.classes))
        return [limit if name in classes else math.inf for name, limit in zip(self.classes, limits.tolist())]

    def prepare(self, image: Input) -> Any:
        """Prepare an image for `run`. The two methods can be called in different threads.

        Args:
            image: as in `__call__`.

        Raises:
            ImageError: the image cannot be read.
        """
        name = f'the image {image}' if isinstance(image, (str, Path)) else 'the image'
        try:
            return self.engine.prepare(_content(image, self.engine.upright, self.engine.bits))
        except ImageError as error:
            raise ImageError(f'{name} {error}') from None
        except Exception as error:  # decoders raise many types of errors for a damaged file
            raise ImageError(f'{name} cannot be read ({reason(error)})') from error

    def pixels(self, content: bytes) -> np.ndarray:
        """Return the RGB pixels (H, W, 3) uint8 of an image file, turned as the detector sees it."""
        return cv2.cvtColor(decode(content, upright=self.engine.upright, bits=self.engine.bits)[0], cv2.COLOR_BGR2RGB)

    def run(self, images: Sequence[Any]) -> list[Detections]:
        """Return every detection that the model outputs for each prepared image. The model itself drops low scores."""
        return self.engine.run(images)


def _content(image: Input, upright: bool, bits: int | None = None) -> bytes | np.ndarray:
    """Return the bytes of an image file, or BGR pixels (H, W, 3) uint8."""
    if isinstance(image, (str, Path)):
        check_format(image)
        return Path(image).read_bytes()
    if isinstance(image, bytes):
        return image
    if not isinstance(image, Image.Image):
        return _to_bgr(np.asarray(image), bits)
    turn = orientation(image)  # before the pixels are loaded, which drops it
    return oriented(pixels_of(image, bits), image.format, turn, upright)


def _to_bgr(pixels: np.ndarray, bits: int | None) -> np.ndarray:
    pixels = eight_bits(pixels, bits)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise ValueError(f'expected an array of shape (height, width, 1, 3 or 4), not empty, got shape {pixels.shape}')
    order = {1: cv2.COLOR_GRAY2BGR, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGR}
    return cv2.cvtColor(np.ascontiguousarray(pixels), order[pixels.shape[2]])


def _checkpoint(model: str, precision: str, threads: int | None, config: str | Path | None, trust: bool,
                ignore_orientation: bool, bits: int | None) -> Engine:
    if '://' not in model and not Path(model.removesuffix('?ema')).exists():
        raise UserError(f'there is no checkpoint or exported file {Path(model).absolute()}')
    if precision != 'fp32':
        raise UserError(f'a checkpoint runs in fp32 only: {precision} needs a file of "ghostdet export --format '
                        'openvino"')
    try:
        from ghostdet.infer.checkpoint import CheckpointDetector
    except ImportError as error:
        raise UserError(f'{model} is a checkpoint and needs the training stack ({reason(error)}): install it as '
                        'docs/how-to/install.md says, or use a file of "ghostdet export" (.onnx, .xml)') from error
    return CheckpointDetector(model, threads, config, trust, ignore_orientation, bits)
