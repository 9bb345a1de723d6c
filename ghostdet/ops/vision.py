"""Import torchvision, and explain how to fix the most common import error."""
from importlib.metadata import version

import torch

from ghostdet.errors import PackageError

try:
    import torchvision
except ModuleNotFoundError:
    raise
except (ImportError, OSError, RuntimeError) as error:
    raise PackageError(
        f'torchvision {version("torchvision")} does not load with torch {version("torch")} ({error}). Both must have '
        'matching versions and the same build (CPU or CUDA). Install both in one command: pip install '
        f'--force-reinstall torch=={version("torch").split("+")[0]} torchvision') from error

OPERATORS = torch.ops.torchvision  # the compiled functions
__all__ = ['OPERATORS', 'torchvision']
