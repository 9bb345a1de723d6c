"""mmcv's operators on torch and torchvision, for an mmcv that was installed without compiled ones.

mmcv keeps its operators in a compiled module, `mmcv._ext`, for which no wheel is published. torchvision's wheel has some of them,
compiled for CPU and CUDA; torch computes the other common ones. `supply` puts a `StandIn` in the place of a missing `mmcv._ext`.
"""
import sys
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from ghostdet.ops.stand_in import StandIn

EXTENSION = 'mmcv._ext'


def supply() -> None:
    """Give mmcv our operators where it has none of its own; compiled ones are never touched, not even broken ones."""
    if EXTENSION in sys.modules or _is_compiled():
        return
    sys.modules[EXTENSION] = StandIn()
    for name in [name for name in sys.modules if name.startswith('mmdet.')]:
        _replace_placeholders(name)


def origin() -> str:
    """Where nms and the other operators come from, for a person to read."""
    if isinstance(sys.modules.get(EXTENSION), StandIn):
        return f'torchvision {version("torchvision")}, through ghostdet.ops (this mmcv has no compiled operators)'
    from mmcv.ops import get_compiling_cuda_version
    for_cpu = get_compiling_cuda_version() == 'not available'
    return 'mmcv, compiled for the CPU alone' if for_cpu else 'mmcv, compiled'


def _is_compiled() -> bool:
    """Whether mmcv's folder holds the compiled module; mmcv itself is not imported for that."""
    package = find_spec('mmcv')
    return package is not None and PathFinder.find_spec(EXTENSION, package.submodule_search_locations) is not None


def _replace_placeholders(module: str) -> None:
    """Replace the placeholders in a module of mmdet that was imported too early.

    A placeholder is a function or a class that only raises.
    """
    names = vars(sys.modules[module])
    for name in [name for name, value in names.items() if _only_raises(value)]:
        import mmcv.ops
        names[name] = getattr(mmcv.ops, name.lstrip('_'), names[name])


def _only_raises(value: Any) -> bool:
    """Whether this is a placeholder, which mmdet defines for an operator that it cannot import."""
    function = vars(value).get('__init__') if isinstance(value, type) else value
    code = getattr(function, '__code__', None)
    return any('requires mmcv to be compiled with ops' in str(constant) for constant in getattr(code, 'co_consts', ()))
