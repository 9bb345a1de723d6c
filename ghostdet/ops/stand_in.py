"""Stand-in for the compiled module `mmcv._ext`: returns our operators by name, or a function that raises a clear error.

mmcv looks up more than a hundred names at import but calls few of them. So an operator is loaded when its name is
looked up.
"""
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from types import ModuleType
from typing import Any

from ghostdet.packages import installed

PROVIDED = dict(
    nms='nms', softnms='nms', nms_match='nms',
    roi_align_forward='roi_align', roi_align_backward='roi_align',
    roi_pool_forward='roi_pool', roi_pool_backward='roi_pool',
    sigmoid_focal_loss_forward='focal_loss', sigmoid_focal_loss_backward='focal_loss',
    softmax_focal_loss_forward='focal_loss', softmax_focal_loss_backward='focal_loss',
    deform_conv_forward='deform_conv', deform_conv_backward_input='deform_conv',
    deform_conv_backward_parameters='deform_conv',
    modulated_deform_conv_forward='deform_conv', modulated_deform_conv_backward='deform_conv')


class StandIn(ModuleType):
    """The module that replaces `mmcv._ext`."""

    def __init__(self) -> None:
        super().__init__('mmcv._ext', __doc__)
        self.__spec__ = ModuleSpec(self.__name__, __spec__.loader, origin=__file__)  # mmengine and mmcv check for it

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        if name in PROVIDED:
            return getattr(import_module(f'ghostdet.ops.{PROVIDED[name]}'), name)
        return _missing(name)

    def get_compiler_version(self) -> str:
        """Return the text that mmcv reports as its compiler: none, the operators come from torchvision."""
        return f'none (torchvision {version("torchvision")} through ghostdet.ops)'

    def get_compiling_cuda_version(self) -> str:
        """Return the CUDA version of torch, which the operators use, or 'not available'."""
        import torch
        return torch.version.cuda or 'not available'


def _missing(name: str) -> Callable[..., Any]:
    """Return an operator that raises when it is called. Code that never calls it can still be imported."""
    def operator(*_: Any, **__: Any) -> Any:
        package, number = installed('mmcv') or ('mmcv', '2')
        raise NotImplementedError(
            f'mmcv\'s operator {name!r} is not available: {package} {number} was installed without compiled operators, '
            'and ghostdet.ops replaces only the common ones (docs/how-to/install.md lists them). To get all of them, '
            'compile mmcv (3 to 15 minutes). You need a C++ compiler and torch older than 2.14; for a GPU you also '
            'need nvcc. Run: pip install "setuptools<81" wheel ninja psutil packaging && pip install '
            '--no-build-isolation --no-deps --force-reinstall --no-cache-dir '
            f'{package.removesuffix("-lite")}=={number}')
    return operator
