"""What an exported file says of itself, so that whoever runs it need not know how the detector was trained."""
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from ghostdet.errors import UserError, reason

KEY = 'ghostdet'  # under which a file has it among its metadata
PRECISIONS = ('fp32', 'int8')  # of the weights and arithmetic in a file


@dataclass(frozen=True)
class Manifest:
    """Classes, in the order of the labels; how an image becomes an input; and where the file comes from.

    Args:
        detector: mmdet's name of its kind.
        canvas: height and width of the input in pixels; None: any multiples of `divisor`.
        scale: without a canvas, width and height that an image has to fit into, standing or lying; with `keep_ratio` False,
            those that it gets.
        mean, std: of the three channels in the order that `is_rgb` tells, which the file itself subtracts and divides by.
        score_threshold: candidates below it are not among the file's outputs.
        versions: of the packages that made the file.
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

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Width and height, in pixels, that an image of `width` and `height` is resized to.

        >>> whole = Manifest('RetinaNet', ('cat',), None, (1333, 800), True, 32, (), (), True, 0.05, 'fp32', '', {})
        >>> whole.target(640, 480), whole.target(480, 640)
        ((1067, 800), (800, 1067))
        """
        if not self.keep_ratio:
            return self.scale
        if self.canvas is None:
            long, short = max(self.scale), min(self.scale)
            factor = min(long / max(width, height), short / min(width, height))
        else:
            factor = min(self.canvas[1] / width, self.canvas[0] / height)
        return max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5))

    def padded(self, width: int, height: int) -> tuple[int, int]:
        """Height and width of the input for a resized image."""
        if self.canvas is not None:
            return self.canvas
        return -(-height // self.divisor) * self.divisor, -(-width // self.divisor) * self.divisor

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, file: str) -> 'Manifest':
        """What `to_json` wrote.

        Raises:
            UserError: it is something else.
        """
        try:
            content = json.loads(text)
            values: dict[str, Any] = {field.name: content[field.name] for field in fields(cls)}
            values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{file} does not say how it is to be run ({reason(error)}): it was not written by this version\'s '
                            'tools/export.py. Export the checkpoint again') from error
