"""Files of weights by their endings: Paddle's .pdparams, .safetensors, and torch's own, whatever they are called."""
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ghostdet.errors import reason
from ghostdet.weights import checkpoint_file
from ghostdet.weights.checkpoint_file import DamagedFileError, UnsafeFileError, beginning, kind
from ghostdet.weights.paddle import read_pdparams

READERS: dict[str, Callable[[Path], Any]] = {'.pdparams': read_pdparams, '.safetensors': load_file}


def read_file(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Content of a file: tensors by name, or, of a checkpoint, whatever was saved with them.

    Raises:
        DamagedFileError: it is missing, cut short, or not what its ending says.
        UnsafeFileError: it holds more than data.
    """
    file = Path(os.path.expanduser(path))
    ending = file.suffix.lower()
    if ending not in READERS:
        return checkpoint_file.read_torch(file, map_location)
    start = beginning(file)
    try:
        return READERS[ending](file)
    except UnsafeFileError:
        raise
    except Exception as error:  # what is damaged fails in as many ways as there are bytes
        raise DamagedFileError(f'{file} is damaged, or no {ending} file but {kind(start)} ({reason(error)})') from error
