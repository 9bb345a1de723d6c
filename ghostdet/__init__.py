"""GhostNet for MMDetection: `import ghostdet` registers everything that a config can name.

The import is cheap: torch and mmcv are loaded when the first name is looked up, in a config or here.
"""
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostdet.api import evaluate, export, train
    from ghostdet.models.ghost_conv import GhostConv
    from ghostdet.models.ghostify import ghostify
    from ghostdet.models.ghostnet import GhostNet
    from ghostdet.predict.detector import Detector
    from ghostdet.weights.schemes import enable_safe_loading

__version__ = '0.1.0'
__all__ = ['Detector', 'GhostConv', 'GhostNet', 'enable_safe_loading', 'evaluate', 'export', 'ghostify', 'train']

# Public names and the modules that have them, imported when a name is asked for.
_LIGHT = dict(Detector='predict.detector')
_TRAINING = dict(train='api', evaluate='api', export='api', enable_safe_loading='weights.schemes',
                 GhostConv='models.ghost_conv', GhostNet='models.ghostnet', ghostify='models.ghostify')

# Asked, not tried: where the stack is installed but broken, its own error has to be seen.
if find_spec('mmdet'):
    from ghostdet import ops as _ops
    from ghostdet import registries as _registries
    _ops.supply()
    _registries.announce()
    if 'mmengine.runner.checkpoint' in sys.modules:
        from ghostdet.weights.schemes import add_own as _add_own
        _add_own()


def __getattr__(name: str) -> Any:
    module = {**_LIGHT, **_TRAINING}.get(name)
    if module is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    if name in _TRAINING and not find_spec('mmdet'):
        raise ImportError(f'ghostdet.{name} needs the training stack, which is not installed here: '
                          'pip install ".[train]" in its folder, the extra [train] of ghostdet; docs/setup.md says how')
    return getattr(import_module(f'ghostdet.{module}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
