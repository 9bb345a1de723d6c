"""Numeric precision of the operators."""
import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Convert 16-bit values to float32.

    torchvision's operators do not support every 16-bit type, and the formulas here would lose too much precision.
    """
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
