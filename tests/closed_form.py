"""Weights and inputs that are formulas, so that reference outputs need no weight file. All in float64.

The formulas are those with which tests/golden/ghostnet.json was made; another formula gives other figures.
"""
import json
import math
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def value(key: str, shape: tuple[int, ...]) -> Tensor:
    """What the state-dict entry `key` is filled with: a wave whose phase depends on the key."""
    count = math.prod(shape)
    wave = torch.sin(1.7 * torch.arange(count, dtype=torch.float64) + zlib.crc32(key.encode()) % 10_000).reshape(shape)
    if key.endswith('running_mean'):
        return wave / 10
    if key.endswith('running_var'):
        return wave ** 2 / 2 + 1
    if len(shape) < 2:
        return wave / 5 + (1 if key.endswith('weight') else 0)
    return wave * (2 / math.prod(shape[1:])) ** 0.5


def filled(model: nn.Module) -> nn.Module:
    """`model` in float64 and eval mode with every tensor but the batch counters filled in."""
    model.double().eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if not key.endswith('num_batches_tracked'):
                tensor.copy_(value(key, tuple(tensor.shape)))
    return model


def golden(name: str) -> Any:
    """The content of tests/golden/NAME.json."""
    return json.loads((Path(__file__).parent / f'golden/{name}.json').read_text())


def image(height: int, width: int) -> Tensor:
    """An input of shape (1, 3, height, width)."""
    return torch.sin(0.37 * torch.arange(3 * height * width, dtype=torch.float64)).reshape(1, 3, height, width)


def nine(feature: Tensor) -> Tensor:
    """Nine values spread evenly over a flattened feature map."""
    flat = feature.detach().flatten()
    return flat[torch.linspace(0, flat.numel() - 1, 9, dtype=torch.float64).long()]
