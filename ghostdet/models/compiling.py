"""Functions of torch that have other names, or are missing, in torch before 2.4."""
from typing import Any

import torch

try:
    from torch.compiler import is_compiling
except ImportError:
    from torch._utils import is_compiling

try:
    from torch.fx.experimental.symbolic_shapes import statically_known_true
except ImportError:
    from torch.fx.experimental.symbolic_shapes import definitely_true as statically_known_true

__all__ = ['autocast_settings', 'is_compiling', 'statically_known_true']


def autocast_settings(device: str) -> dict[str, Any]:
    """Return the arguments with which `torch.autocast(device, ...)` gives the same settings again."""
    if hasattr(torch, 'get_autocast_dtype'):
        return dict(dtype=torch.get_autocast_dtype(device), enabled=torch.is_autocast_enabled(device))
    if device == 'cpu':
        return dict(dtype=torch.get_autocast_cpu_dtype(), enabled=torch.is_autocast_cpu_enabled())
    return dict(dtype=torch.get_autocast_gpu_dtype(), enabled=torch.is_autocast_enabled())
