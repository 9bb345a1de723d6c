"""The metadata in an exported file. It holds everything that is needed to run the file."""
import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from ghostdet.errors import UserError, reason
from ghostdet.images.resize import fitted, rescaled
from ghostdet.infer.seal import UNSEALED

KEY = 'ghostdet'  # key of the manifest in the file's metadata
PRECISIONS = ('fp32', 'fp16', 'int8')  # of the weights and the arithmetic in a file


@dataclass(frozen=True)
class Manifest:
    """The classes, the preprocessing and the origin of an exported file.

    Args:
        detector: mmdet's name of the detector type.
        classes: class names, in the order of the labels.
        canvas: height and width of the input in pixels; None: any multiples of `divisor`.
        scale: two sides in pixels. With `keep_ratio` and no canvas, an image is resized to fit into them, in landscape
            or portrait format. Without `keep_ratio`, it is resized to exactly this width and height.
        mean, std: of the three channels; RGB if `is_rgb`, else BGR. The file itself normalizes with them.
        score_threshold: the file drops candidates with a lower score.
        config: name of the config file.
        versions: of the packages that made the file.
        upright: images are turned as their EXIF orientation says; else pixels are taken as they lie in the file.
        border: value of the pixels beside a resized image in the canvas, which belong to the image; None: there are
            only zeros after the normalization, and boxes end at the image.
        decoder: settings of `ghostdet.infer.decoding.Decoder`: the file gives the head's maps, for normalized pixels;
            None: the file itself gives boxes.
        batch: number of images that go through the file at once.
        reference: settings of `ghostdet.infer.self_check.Reference`; None: in files from before 0.3.
        thresholds: with the best F1 in the checkpoint's last evaluation: `all`, and `classes` by name; None: unknown.
        max_objects: largest number of boxes that the file gives for an image; None: unknown, or all.
        bits: depth of images of more than 8 bits; None: each image is scaled by the bits that it uses.
        tile: side and least overlap, in pixels of the original image, of the tiles into which a large image is cut, so
            that objects have the size at the input that the detector was trained on; None: unknown.
        checksum: of all parts of the file: `ghostdet.infer.seal`.
    """

    detector: str
    classes: tuple[str, ...]
    canvas: tuple[int, int] | None
    scale: tuple[int, int]
    keep_ratio: bool
    divisor: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_rgb: bool
    score_threshold: float
    precision: str
    config: str
    versions: dict[str, str]
    upright: bool = True
    border: int | None = None
    decoder: dict[str, Any] | None = None
    batch: int = 1
    reference: dict[str, Any] | None = None
    thresholds: dict[str, Any] | None = None
    max_objects: int | None = None
    bits: int | None = None
    tile: tuple[int, int] | None = None
    checksum: str = UNSEALED

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height, in pixels, of an image of `width` x `height` after the resize."""
        if self.canvas is None or not self.keep_ratio:
            return rescaled(width, height, self.scale, self.keep_ratio)
        return fitted(width, height, self.canvas[::-1])

    def padded(self, width: int, height: int) -> tuple[int, int]:
        """Return height and width of the network's input for a resized image."""
        if self.canvas is not None:
            return self.canvas
        # On a map of one pixel, OpenVINO's int8 ends the process: see `ghostdet.deploy.convert.quantize`.
        least = 2 if self.precision == 'int8' else 1
        height, width = (max(least, -(-side // self.divisor)) * self.divisor for side in (height, width))
        return height, width

    @property
    def map_names(self) -> list[str]:
        """Names in an .onnx or .xml file of the maps that the reference has; if they are its outputs, with strides."""
        reference = self.reference or {}
        if self.decoder:
            return [f'{kind}_{stride}' for kind in reference.get('kinds', ()) for stride in self.decoder['strides']]
        return [f'map_{index}' for index in range(len(reference.get('shapes', ())))]

    def to_json(self) -> str:
        """Return the manifest as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, file: str) -> 'Manifest':
        """Read a manifest that `to_json` wrote.

        Args:
            file: name of the exported file, for the error message.

        Raises:
            UserError: `text` is not such a manifest.
        """
        try:
            content = json.loads(text)
            values: dict[str, Any] = {field.name: content[field.name] for field in fields(cls)
                                      if field.default is MISSING or field.name in content}
            values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{file} has no valid ghostdet metadata ({reason(error)}): it was not written by this '
                            'version\'s "ghostdet export". Export the checkpoint again') from error
