"""Read weight files by ending: .pdparams (Paddle), .index (TensorFlow), .safetensors; others are torch checkpoints."""
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ghostdet.errors import UserError, reason
from ghostdet.weights import checkpoint_file
from ghostdet.weights.checkpoint_file import DamagedFileError, beginning, kind
from ghostdet.weights.paddle import read_pdparams
from ghostdet.weights.tensor_bundle import read_bundle


def _load_safetensors(file: Path) -> dict[str, Any]:
    from safetensors.torch import load_file
    return load_file(file)


READERS: dict[str, Callable[[Path], Any]] = {
    '.pdparams': read_pdparams, '.index': read_bundle, '.safetensors': _load_safetensors}


def read_file(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Read a weight file: return tensors by name, or the whole content of a torch checkpoint.

    Raises:
        DamagedFileError: the file is missing, cut short, or not what its ending says.
        UnsafeFileError: the file holds more than data.
    """
    file = Path(os.path.expanduser(path))
    ending = file.suffix.lower()
    if ending not in READERS:
        return checkpoint_file.read_torch(file, map_location)
    start = beginning(file)
    try:
        return READERS[ending](file)
    except (UserError, ImportError):
        raise
    except Exception as error:  # damaged files raise many kinds of errors
        raise DamagedFileError(f'{file} is damaged, or is not a {ending} file but {kind(start)} '
                               f'({reason(error)})') from error
