"""Files of weights by their endings: Paddle's .pdparams, .safetensors, and torch's own, whatever they are called."""
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ghostdet.errors import reason
from ghostdet.weights import checkpoint_file
from ghostdet.weights.checkpoint_file import DamagedFileError
from ghostdet.weights.paddle import read_pdparams


def read(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Content of a file: tensors by name, or, of a checkpoint, whatever was saved with them.

    Raises:
        DamagedFileError: it is missing, cut short, or not what its ending says.
        UnsafeFileError: it holds more than data.
    """
    file = Path(path).expanduser()
    if file.suffix == '.pdparams':
        return read_pdparams(file)
    if file.suffix == '.safetensors':
        try:
            return load_file(file)
        except Exception as error:  # the library has its own kinds
            raise DamagedFileError(f'{file} is damaged, or no safetensors file ({reason(error)})') from error
    return checkpoint_file.read(file, map_location)
