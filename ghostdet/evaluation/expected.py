"""Checks a measured AP against the one that a config expects (its key `expected`)."""
import math
from dataclasses import dataclass

from mmengine.config import Config

from ghostdet.errors import UserError

ROUNDING = 1e-9  # as floats, 0.266 - 0.261 is a little more than 0.005


@dataclass(frozen=True)
class Expected:
    """The expected AP, from 0 to 1, the tolerated difference, and where the AP comes from."""

    ap: float
    tolerance: float
    source: str = ''

    def verdict(self, measured: float) -> str:
        """Return 'below', 'within' or 'above'; the ends of the tolerance are within.

        >>> Expected(0.266, 0.005).verdict(0.261)
        'within'
        """
        difference = measured - self.ap
        if abs(difference) <= self.tolerance + ROUNDING:
            return 'within'
        return 'above' if difference > 0 else 'below'  # NaN (nothing to count) is below

    def to_text(self, measured: float) -> str:
        """Return the comparison as one line for a terminal.

        >>> print(Expected(0.266, 0.005).to_text(0.2749))
        AP 0.2749, expected 0.2660: difference +0.0089, above the tolerance of 0.0050
        """
        return (f'AP {measured:.4f}, expected {self.ap:.4f}: difference {measured - self.ap:+.4f}, '
                f'{self.verdict(measured)} the tolerance of {self.tolerance:.4f}')

    def check(self, measured: float) -> None:
        """Check that the measured AP is not below the tolerance.

        Raises:
            UserError: it is below.
        """
        if self.verdict(measured) == 'below':
            raise UserError(f'the AP is below what the config expects: measured {measured:.4f}, expected {self.ap:.4f} '
                            f'with a tolerance of {self.tolerance:.4f}, so {self.ap - self.tolerance:.4f} or more')


def expected_of(cfg: Config) -> Expected:
    """Read the expected AP of a config.

    Raises:
        UserError: the config has no `expected`, or not in the form `expected = dict(bbox_mAP=0.266, tolerance=0.005)`.
    """
    entry = cfg.get('expected')
    form = ('expected = dict(bbox_mAP=0.266, tolerance=0.005), both from 0 to 1; source=\'...\' can say where the AP '
            'comes from')
    if entry is None:
        raise UserError(f'--check-expected needs an AP to compare with, but the config has none: add {form}')
    rest = dict(entry) if isinstance(entry, dict) else {}
    ap, tolerance, source = rest.pop('bbox_mAP', None), rest.pop('tolerance', None), rest.pop('source', '')
    valid = isinstance(entry, dict) and _is_fraction(ap) and _is_fraction(tolerance) and isinstance(source, str)
    if rest or not valid:
        raise UserError(f'the config has expected = {entry}, but --check-expected needs {form}')
    return Expected(ap, tolerance, source)


def _is_fraction(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1
