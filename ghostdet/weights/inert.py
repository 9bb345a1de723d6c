"""Read the pickle in a checkpoint as data: harmless stand-ins replace the classes and functions that it names.

torch's `weights_only` mode calls everything on its allow-list. mmengine adds `getattr` to this list, and through
`getattr` a file reaches any function. It also adds classes whose state a file may set. Here the list holds only the
stand-ins of this module. The result is rebuilt from plain containers, numbers, strings, tensors and arrays. Anything
else is refused.
"""
import pickle
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device)
NUMPY_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')  # before numpy 2, and since
REFUSED_GLOBAL = re.compile(r'(?:GLOBAL|load unsupported GLOBAL|Unsupported class) (\S+)')
REFUSED_STEP = re.compile(
    r'Can only [^\n]+|Trying to call reduce for unrecognized function \S+|Unsupported operand \d+')


class RefusedError(Exception):
    """The file holds something that is not plain data, so it is refused."""


class History:
    """Stand-in for mmengine's `HistoryBuffer`."""

    def __setstate__(self, state: dict) -> None:
        self.state = dict(state)

    def real(self) -> HistoryBuffer:
        """Return the HistoryBuffer with these numbers."""
        log, count = (np.asarray(plain(self.state.get(f'_{name}_history', []))) for name in ('log', 'count'))
        if log.dtype.kind not in 'biuf' or count.dtype.kind not in 'biuf' or log.shape != count.shape:
            raise RefusedError('a log history that is not made of numbers')
        return HistoryBuffer(log, count, int(self.state.get('max_length', 1_000_000)))


class Options:
    """Stand-in for `argparse.Namespace`: the options of a run, which timm's training script and its copies save."""

    def __setstate__(self, state: dict) -> None:
        self.state = dict(state)

    def real(self) -> dict:
        """Return the options by name."""
        return plain(getattr(self, 'state', {}))  # without options, a pickle sets no state


def _statistics_method(owner: Any, name: Any) -> None:
    """Stand-in for `getattr`. A pickled HistoryBuffer looks up its methods by it; `History.real` creates them again."""
    if owner is not History or not isinstance(name, str) or name.startswith('_'):
        raise RefusedError(f'getattr({getattr(owner, "__name__", owner)}, {name!r})')


class DType:
    """Stand-in for a numpy dtype of numbers or text. Others are refused: objects or records could point anywhere in
    memory.
    """

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r'[biufcSU]\d+', str(code)):
            raise RefusedError(f'a numpy dtype {code!r}')
        self.code, self.order = str(code), '='

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ('<', '>', '=', '|') or any(part is not None for part in state[2:5]):
            raise RefusedError(f'a numpy dtype with the state {state!r}')
        self.order = state[1]

    def real(self) -> np.dtype:
        """Return the numpy dtype."""
        return np.dtype(self.order + self.code)


class Array:
    """Stand-in for `numpy._reconstruct`, which creates an empty array that the pickle then fills."""

    def __init__(self, *_: Any) -> None:
        self.dtype: Any = None

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.fortran, self.raw = state

    def real(self) -> np.ndarray:
        """Return the numpy array."""
        if not isinstance(self.dtype, DType) or not isinstance(self.raw, bytes):
            raise RefusedError('a numpy array that is not made of numbers')
        return np.frombuffer(self.raw, self.dtype.real()).reshape(self.shape, order='F' if self.fortran else 'C').copy()


class _ArrayType:
    """Stand-in for `numpy.ndarray`, which a pickle names but never calls."""


def _scalar(dtype: Any, raw: Any) -> Any:
    if not isinstance(dtype, DType) or not isinstance(raw, bytes):
        raise RefusedError('a numpy scalar that is not a number')
    return np.frombuffer(raw, dtype.real())[0]


def _bytes(text: str, encoding: str) -> bytes:
    """Stand-in for `_codecs.encode`, for bytes in a pickle. torch has it on its own list from 2.5."""
    return text.encode(encoding)


ALLOWED: dict[str, Callable] = {
    'mmengine.logging.history_buffer.HistoryBuffer': History, 'builtins.getattr': _statistics_method,
    'argparse.Namespace': Options, 'numpy.ndarray': _ArrayType, 'numpy.dtype': DType,
    **{f'{module}._reconstruct': Array for module in NUMPY_MODULES},
    **{f'{module}.scalar': _scalar for module in NUMPY_MODULES}}


def load(file: Path, map_location: Any) -> Any:
    """Read a file that `torch.save` wrote, and return its content as plain data.

    Raises:
        RefusedError: the file holds something that is not data; the message names it.
        Exception: the file is damaged; torch raises many kinds of errors.
    """
    with _nothing_else_allowed():
        try:
            return plain(torch.load(file, map_location=map_location, weights_only=True))
        except pickle.UnpicklingError as error:
            raise _understood(error) from error
        except RecursionError as error:
            raise RefusedError('containers that contain themselves') from error


def _understood(error: Exception) -> Exception:
    """Return a `RefusedError` that names what torch refused. torch's own message advises the user to allow it."""
    named = REFUSED_GLOBAL.search(str(error))
    if named:
        return RefusedError(named[1])
    asks = REFUSED_STEP.search(str(error))
    return RefusedError(f'more than data ({asks[0]})') if asks else error


@contextmanager
def _nothing_else_allowed() -> Iterator[None]:
    """Replace torch's allow-list by `ALLOWED` for a while. torch has one list per process; others extend it.

    Before torch 2.6, a class in the list cannot have another name, so a private function of torch is replaced. Before
    2.4, torch has no such list and reads only tensors and containers. tests/other_environments.py runs old versions.
    """
    if torch.__version__ >= (2, 6):
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        try:
            with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in ALLOWED.items()]):
                yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(others)
    elif torch.__version__ >= (2, 4):
        allowed = {**ALLOWED, '_codecs.encode': _bytes}
        with patch('torch._weights_only_unpickler._get_user_allowed_globals', lambda: allowed):
            yield
    else:
        yield


def plain(value: Any, known: dict[int, Any] | None = None) -> Any:
    """Rebuild `value` from plain parts, without the attributes that a file may have set on them.

    Raises:
        RefusedError: a part has a type that no checkpoint needs.
    """
    known = {} if known is None else known  # a shared part is rebuilt once and stays shared
    if id(value) not in known:
        known[id(value)] = _rebuilt(value, known)
    return known[id(value)]


def _rebuilt(value: Any, known: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in PLAIN or isinstance(value, np.generic):
        return value
    if kind in (torch.Tensor, torch.nn.Parameter):
        return torch.Tensor.detach(value)
    if kind in (list, tuple, set):
        return kind(plain(item, known) for item in value)
    if kind in (dict, OrderedDict, Counter):
        return _rebuilt_dict(value, known)
    if kind in (History, Array, Options):
        return value.real()
    raise RefusedError(f'an object of type {kind.__module__}.{kind.__qualname__}')


def _rebuilt_dict(value: dict, known: dict[int, Any]) -> dict:
    rebuilt = type(value)((plain(key, known), plain(item, known)) for key, item in dict.items(value))
    versions = value.__dict__.get('_metadata') if isinstance(value, OrderedDict) else None
    if versions is not None:  # modules read it to understand old files
        rebuilt._metadata = plain(versions, known)  # type: ignore[attr-defined]
    return rebuilt
