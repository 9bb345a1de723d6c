"""Paddle's .pdparams files, a pickle of numpy arrays, without paddle and without running what they hold."""
import pickle
from _codecs import encode
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from ghostdet.weights import inert
from ghostdet.weights.checkpoint_file import UnsafeFileError


def _array(*arguments: Any) -> Any:
    return inert.Array(*arguments)


def _dtype(*arguments: Any) -> Any:
    return inert.DType(*arguments)


# Functions, not the classes themselves: a pickle may set attributes on a class.
ALLOWED = {('_codecs', 'encode'): encode, ('collections', 'OrderedDict'): OrderedDict, ('builtins', 'tuple'): tuple,
           ('numpy', 'ndarray'): _array, ('numpy', 'dtype'): _dtype,
           **{(module, '_reconstruct'): _array for module in inert.NUMPY_MODULES}}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise inert.RefusedError(f'{module}.{name}')
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise inert.RefusedError('an object outside the file')


def read_pdparams(file: Path) -> dict[str, torch.Tensor]:
    """The tensors in a .pdparams file, by their names in the network.

    Raises:
        UnsafeFileError: it holds more than arrays.
        Exception: it is no such file, or not a whole one.
    """
    try:
        with file.open('rb') as opened:
            return _tensors(inert.plain(_Unpickler(opened, encoding='latin1').load()))
    except inert.RefusedError as refusal:
        raise UnsafeFileError(f'{file} was not opened, since it asks for {refusal}, which can run any program with your '
                              'rights') from refusal


def _tensors(content: Any) -> dict[str, torch.Tensor]:
    if not isinstance(content, dict):
        raise TypeError(f'it holds a {type(content).__name__}')
    # Newer paddles store (name, array).
    values = {name: value[1] if isinstance(value, tuple) and len(value) == 2 else value for name, value in content.items()}
    return {name: torch.from_numpy(value) for name, value in values.items() if hasattr(value, 'dtype')}
