"""Read Paddle's .pdparams files (pickled numpy arrays) without Paddle and without running code in them."""
import pickle
from _codecs import encode
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from ghostdet.weights import inert
from ghostdet.weights.checkpoint_file import UnsafeFileError

# Functions and not the stand-in classes: a pickle could set attributes on a class.
ALLOWED = {('_codecs', 'encode'): encode, ('collections', 'OrderedDict'): OrderedDict, ('builtins', 'tuple'): tuple,
           ('numpy', 'dtype'): lambda *arguments: inert.DType(*arguments),
           **{name: lambda *arguments: inert.Array(*arguments) for name in (
               ('numpy', 'ndarray'), *((module, '_reconstruct') for module in inert.NUMPY_MODULES))}}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise inert.RefusedError(f'{module}.{name}')
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise inert.RefusedError('an object outside the file')


def read_pdparams(file: Path) -> dict[str, torch.Tensor]:
    """Read the tensors in a .pdparams file, by their names in the network.

    Raises:
        UnsafeFileError: the file holds more than arrays.
        Exception: the file is of another kind, or damaged.
    """
    try:
        with file.open('rb') as opened:
            return _tensors(inert.plain(_Unpickler(opened, encoding='latin1').load()))
    except inert.RefusedError as refusal:
        raise UnsafeFileError(f'{file} was not opened: it asks for {refusal}. It could run any program with your '
                              'rights') from refusal


def _tensors(content: Any) -> dict[str, torch.Tensor]:
    if not isinstance(content, dict):
        raise TypeError(f'it holds a {type(content).__name__}')
    # Newer versions of Paddle store (name, array).
    values = {name: value[1] if isinstance(value, tuple) and len(value) == 2 else value
              for name, value in content.items()}
    return {name: torch.from_numpy(value) for name, value in values.items() if hasattr(value, 'dtype')}
