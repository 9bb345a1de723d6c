"""GhostNet and its successors for MMDetection. `import ghostdet` registers all names that a config can use.

The import is fast: mmdet is not imported, and torch and mmcv are imported when the first name is looked up, in a config
or here.
"""
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ghostdet import ops as _ops
from ghostdet import packages as _packages
from ghostdet import registries as _registries
from ghostdet.errors import PackageError as _PackageError

if TYPE_CHECKING:
    from ghostdet.api import evaluate, export, train
    from ghostdet.infer.detector import Detector
    from ghostdet.models.backbones.ghostnet import GhostNet
    from ghostdet.models.backbones.ghostnetv2 import GhostNetV2
    from ghostdet.models.backbones.ghostnetv3 import GhostNetV3
    from ghostdet.models.backbones.repghostnet import RepGhostNet
    from ghostdet.models.ghost_conv import GhostConv
    from ghostdet.models.ghostify import ghostify
    from ghostdet.weights.schemes import enable_safe_loading

__version__ = '0.3.0'
__all__ = ['Detector', 'GhostConv', 'GhostNet', 'GhostNetV2', 'GhostNetV3', 'RepGhostNet', 'enable_safe_loading',
           'evaluate', 'export', 'ghostify', 'train']

# Public names and their modules, which are imported when a name is first used.
_MODULES = dict(Detector='infer.detector', train='api', evaluate='api', export='api',
                enable_safe_loading='weights.schemes', GhostConv='models.ghost_conv',
                GhostNet='models.backbones.ghostnet', GhostNetV2='models.backbones.ghostnetv2',
                GhostNetV3='models.backbones.ghostnetv3', RepGhostNet='models.backbones.repghostnet',
                ghostify='models.ghostify')

_ops.supply()
_registries.announce()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    try:
        return getattr(import_module(f'ghostdet.{_MODULES[name]}'), name)
    except ImportError as error:
        advice = _packages.import_advice(error, f'ghostdet.{name}', 'runtime' if name == 'Detector' else 'train')
        if advice is None:
            raise
        raise _PackageError(f'{advice}, see docs/how-to/install.md') from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
