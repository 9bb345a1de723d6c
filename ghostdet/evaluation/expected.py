"""The AP that a config is meant to reach, its key `expected`, and whether a detector did."""
import math
from dataclasses import dataclass

from mmengine.config import Config

from ghostdet.errors import UserError

ROUNDING = 1e-9  # 0.261 is 0.005 below 0.266, which floats deny


@dataclass(frozen=True)
class Expected:
    """AP, from 0 to 1, and how far from it counts as the same."""

    ap: float
    tolerance: float

    def verdict(self, measured: float) -> str:
        """'below', 'within' or 'above' the tolerance, whose ends are within.

        >>> Expected(0.266, 0.005).verdict(0.261)
        'within'
        """
        difference = measured - self.ap
        if abs(difference) <= self.tolerance + ROUNDING:
            return 'within'
        return 'above' if difference > 0 else 'below'  # nan, where there was nothing to count, is below

    def to_text(self, measured: float) -> str:
        """One line for a terminal.

        >>> print(Expected(0.266, 0.005).to_text(0.2749))
        AP 0.2749, expected 0.2660: difference +0.0089, above the tolerance of 0.0050
        """
        return (f'AP {measured:.4f}, expected {self.ap:.4f}: difference {measured - self.ap:+.4f}, {self.verdict(measured)} the '
                f'tolerance of {self.tolerance:.4f}')

    def check(self, measured: float) -> None:
        """Refuse an AP that is below.

        Raises:
            UserError: it is.
        """
        if self.verdict(measured) == 'below':
            raise UserError(f'the AP is below what the config expects: {measured:.4f} where {self.ap:.4f} with a tolerance of '
                            f'{self.tolerance:.4f} asks for {self.ap - self.tolerance:.4f} or more')


def expected_of(cfg: Config) -> Expected:
    """What a config expects.

    Raises:
        UserError: it says nothing of it, or not in the form of `expected = dict(bbox_mAP=0.266, tolerance=0.005)`.
    """
    found = cfg.get('expected')
    form = 'expected = dict(bbox_mAP=0.266, tolerance=0.005), both from 0 to 1'
    if found is None:
        raise UserError(f'--check-expected needs an AP to compare with, and the config has none: write {form}')
    is_whole = isinstance(found, dict) and set(found) == {'bbox_mAP', 'tolerance'}
    if not is_whole or not all(_is_share(value) for value in found.values()):
        raise UserError(f'the config\'s expected is {found}, and --check-expected reads {form}')
    return Expected(found['bbox_mAP'], found['tolerance'])


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1
