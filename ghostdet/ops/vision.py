"""torchvision, imported in one place, so that the best-known failure of its import comes with the cure."""
from importlib.metadata import version

try:
    import torchvision
except (ImportError, OSError, RuntimeError) as error:
    raise ImportError(
        f'torchvision {version("torchvision")} does not load beside torch {version("torch")} ({error}). They have to be of one '
        'release and one build (CPU or CUDA): install both in one command from one index, as in pip install --force-reinstall '
        'torch==2.13.0 torchvision==0.28.0') from error

__all__ = ['torchvision']
