"""Read the checkpoint of a detector, and load what fits into a model."""
from collections.abc import Callable

import torch
from torch import nn

from ghostdet.errors import UserError, reason
from ghostdet.messages import shorten
from ghostdet.weights.pretrained import shape_of
from ghostdet.weights.schemes import load


def read_checkpoint(filename: str, map_location: str | Callable = 'cpu') -> dict:
    """Read a checkpoint from a file or URL.

    Raises:
        UserError: it is missing, not a checkpoint, or not safe to open; the message names it.
    """
    try:
        checkpoint = load(filename, map_location)
    except UserError:
        raise
    except Exception as error:  # a file that is no checkpoint can raise anything
        raise UserError(f'the checkpoint {filename} cannot be read ({reason(error)})') from error
    if not isinstance(checkpoint, dict):
        raise UserError(f'{filename} is not a checkpoint: it holds a {type(checkpoint).__name__}')
    if not isinstance(checkpoint.get('meta') or {}, dict):
        raise UserError(f'{filename} is not a checkpoint: its meta is a {type(checkpoint["meta"]).__name__}')
    return checkpoint


def load_fitting(model: nn.Module, state: dict, filename: str, must_fit: bool) -> str:
    """Load the tensors of `state` that `model` has in the same shape.

    Returns:
        Text on what was loaded and what was not.

    Raises:
        UserError: nothing fits; or `must_fit`, and a tensor of the model is missing or has another shape.
    """
    own = model.state_dict()
    fitting = {key: value for key,
               value in state.items() if isinstance(value, torch.Tensor) and value.layout == torch.strided
               and key in own and own[key].shape == value.shape}
    missing = [f'{key} {shape_of(own[key])} (the file has {shape_of(state.get(key))})'
               for key in own if key not in fitting]
    unused = [key for key in state if key not in own]
    notes = [f'{filename}: {len(fitting)} of the model\'s {len(own)} tensors loaded']
    notes += [f'left as initialised: {shorten(missing)}'] if missing else []
    notes += [f'in the file but not in the model: {shorten(unused)}'] if unused else []
    if not fitting or (must_fit and missing):
        raise UserError('this checkpoint does not fit the config\'s model. ' + '; '.join(notes))
    model.load_state_dict(fitting, strict=False)
    return '; '.join(notes)
