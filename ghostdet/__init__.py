"""GhostNet for MMDetection: `import ghostdet` registers everything that a config can name."""
from importlib.util import find_spec
from typing import Any

__version__ = '0.1.0'
__all__ = ['Detector', 'GhostConv', 'GhostNet', 'ghostify']

# Asked, not tried: where the stack is installed but broken, its own error has to be seen.
if find_spec('mmdet'):
    from ghostdet import opencv as _opencv, ops as _ops  # noqa: F401, I001  (before mmcv, which imports OpenCV)
    _ops.supply()
    import mmcv.ops as _mmcv_ops  # noqa: F401  (mmdet hides the error of operators that do not load)

    from ghostdet.data.loading import LoadWholeImage as _LoadWholeImage  # noqa: F401  (registered by being imported)
    from ghostdet.engine import hooks as _hooks  # noqa: F401
    from ghostdet.models.ghost_conv import GhostConv
    from ghostdet.models.ghostify import ghostify
    from ghostdet.models.ghostnet import GhostNet
    from ghostdet.weights import schemes as _schemes  # noqa: F401


def __getattr__(name: str) -> Any:
    if name == 'Detector':  # when it is asked for: it needs neither torch nor mmdet, but packages that they have, too
        from ghostdet.predict.detector import Detector
        return Detector
    if name in __all__:
        raise ImportError(f'ghostdet.{name} needs the training stack, which is not installed here: '
                          'pip install ".[train]" in its folder, the extra [train] of ghostdet; docs/setup.md says how')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
