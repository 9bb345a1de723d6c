"""Replace mmcv's compiled operators by torch and torchvision, if mmcv was installed without them.

mmcv keeps its operators in a compiled module, `mmcv._ext`. No wheel contains it. torchvision's wheel has some of the
operators, compiled for CPU and CUDA. torch computes the other common ones. `supply` installs a `StandIn` if `mmcv._ext`
is missing.
"""
import sys
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from ghostdet.ops.stand_in import StandIn

EXTENSION = 'mmcv._ext'


def supply() -> None:
    """Give mmcv, if it is installed without operators, our operators. Compiled ones stay, even broken ones."""
    mmcv = find_spec('mmcv')
    if EXTENSION in sys.modules or mmcv is None or PathFinder.find_spec(EXTENSION, mmcv.submodule_search_locations):
        return
    sys.modules[EXTENSION] = StandIn()
    for name in [name for name in sys.modules if name.startswith('mmdet.')]:
        _replace_placeholders(name)


def is_supplied() -> bool:
    """Return whether mmcv has our operators."""
    return isinstance(sys.modules.get(EXTENSION), StandIn)


def origin() -> str:
    """Return text that says where nms and the other operators come from."""
    if is_supplied():
        return f'torchvision {version("torchvision")}, through ghostdet.ops (this mmcv has no compiled operators)'
    from mmcv.ops import get_compiling_cuda_version
    for_cpu = get_compiling_cuda_version() == 'not available'
    return 'mmcv, compiled for the CPU only' if for_cpu else 'mmcv, compiled'


def _replace_placeholders(module: str) -> None:
    """Replace placeholders in an mmdet module that was imported before `supply`.

    A placeholder is a function or a class that only raises. mmdet defines one for an operator that it cannot import.
    """
    names = vars(sys.modules[module])
    for name in [name for name, value in names.items() if _only_raises(value)]:
        import mmcv.ops
        names[name] = getattr(mmcv.ops, name.lstrip('_'), names[name])


def _only_raises(value: Any) -> bool:
    """Return whether this is such a placeholder."""
    function = vars(value).get('__init__') if isinstance(value, type) else value
    code = getattr(function, '__code__', None)
    return any('requires mmcv to be compiled with ops' in str(constant) for constant in getattr(code, 'co_consts', ()))
