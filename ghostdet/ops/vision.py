"""torchvision, imported in one place, so that the best-known failure of its import comes with the cure."""
from importlib.metadata import version

import torch

try:
    import torchvision
except ModuleNotFoundError:
    raise
except (ImportError, OSError, RuntimeError) as error:
    raise ImportError(
        f'torchvision {version("torchvision")} does not load beside torch {version("torch")} ({error}). They have to be of one '
        'release and one build (CPU or CUDA). Install both in one command: pip install --force-reinstall '
        f'torch=={version("torch").split("+")[0]} torchvision') from error

OPERATORS = torch.ops.torchvision  # the compiled functions themselves
__all__ = ['OPERATORS', 'torchvision']
