"""Precision of what the operators compute."""
import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """`values`, those of 16 bits in float32: torchvision's operators do not take all of them, and formulas lose too much."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
