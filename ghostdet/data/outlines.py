"""From the shapes that people draw around objects to boxes in COCO's format. Coordinates are in pixels."""
import math
from collections.abc import Sequence
from typing import Any

from ghostdet.data.filling import is_number

OutlineRecord = dict[str, Any]  # `bbox`, `area` and, for a polygon, `segmentation`


def numbers(values: Sequence[Any]) -> list[float]:
    """Return values that must be finite numbers.

    Raises:
        ValueError: one is not; the text is the problem.
    """
    for value in values:
        if not is_number(value):
            raise ValueError(f'has {str(value)[:40]!r}, which is not a number' if value is not None else
                             'has a coordinate that is missing')
    return list(values)


def bounds(xs: Sequence[float], ys: Sequence[float]) -> OutlineRecord:
    """Return the box around points, with its area.

    Raises:
        ValueError: it has no area; the text is the problem.
    """
    if not xs or len(xs) != len(ys):
        raise ValueError(f'has {len(xs)} x and {len(ys)} y: expected as many, and at least one')
    x, y = min(xs), min(ys)
    width, height = max(xs) - x, max(ys) - y
    if width <= 0 or height <= 0:
        raise ValueError(f'has no area: x {x}, y {y}, width {width}, height {height}')
    return dict(bbox=[x, y, width, height], area=width * height)


def polygon(xs: Sequence[float], ys: Sequence[float]) -> OutlineRecord:
    """Return the record of a polygon: the box around it, its own area (shoelace formula) and its points.

    Raises:
        ValueError: it has no area or fewer than three points; the text is the problem.
    """
    box = bounds(xs, ys)
    if len(xs) < 3:
        raise ValueError(f'is a polygon of {len(xs)} points: expected at least 3')
    twice = sum(xs[k - 1] * ys[k] - xs[k] * ys[k - 1] for k in range(len(xs)))
    return dict(box, area=abs(twice) / 2 or box['area'], segmentation=[[v for point in zip(xs, ys) for v in point]])


def ellipse(x: float, y: float, across: float, down: float, turn: float = 0) -> OutlineRecord:
    """Return the box around an ellipse with its centre at (x, y).

    Args:
        across, down: radii before it is turned.
        turn: in radians.

    Raises:
        ValueError: it has no area; the text is the problem.
    """
    half = [math.hypot(across * math.cos(turn), down * math.sin(turn)),
            math.hypot(across * math.sin(turn), down * math.cos(turn))]
    return bounds([x - half[0], x + half[0]], [y - half[1], y + half[1]])
