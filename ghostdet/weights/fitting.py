"""Compare the tensors of a checkpoint with those of a model, and load what fits."""
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ghostdet.errors import PackageError, UserError, reason
from ghostdet.messages import shorten
from ghostdet.models.networks import NETWORKS
from ghostdet.weights.layouts import LAYOUTS
from ghostdet.weights.pretrained import Weights, official_names
from ghostdet.weights.schemes import load

COUNTER = 'num_batches_tracked'  # counter of a batch norm: not a weight, and missing in some layouts
PROFILER = ('total_ops', 'total_params')  # buffers that thop adds to every layer when it counts operations
# of a classifier or detector
OTHER_PARTS = ('head.', 'neck.', 'bbox_head.', 'rpn_head.', 'roi_head.', 'data_preprocessor.')


def read_checkpoint(filename: str, map_location: str | Callable = 'cpu') -> dict:
    """Read a detector's checkpoint by any name that `load` takes.

    Raises:
        UserError: it is missing, not a checkpoint, or not safe to open; the message names it.
        PackageError: its format needs a package that is missing.
    """
    try:
        checkpoint = load(filename, map_location)
    except (UserError, PackageError):
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
    fitting = {key: state[key] for key in own if _fits(state.get(key), own[key])}
    missing = _differences(own, state, own)
    unused = Counter(str(key).partition('.')[0] for key in state if key not in own)
    notes = [f'{filename}: {len(fitting)} of the model\'s {len(own)} tensors loaded']
    notes += [f'left as initialised: {shorten(missing)}'] if missing else []
    notes += ['in the file but not in the model: '
              + ', '.join(f'{count} of {part}' for part, count in unused.items())] if unused else []
    if not fitting or (must_fit and missing):
        raise UserError('this checkpoint does not fit the config\'s model. ' + '; '.join(notes))
    model.load_state_dict(fitting, strict=False)
    return '; '.join(notes)


@dataclass(frozen=True)
class Coverage:
    """Which tensors a module gets from a file of initial weights, and which problems there are."""

    name: str
    layout: str
    received: int
    wanted: int
    missing: tuple[str, ...]  # tensors of the module that the file misses or has in another shape; both shapes
    alien: tuple[str, ...]  # tensors of the file in layers of this module that do not belong to them
    spoiled: tuple[str, ...]  # tensors of the module whose values in the file hold NaN or infinity
    unexpected: tuple[str, ...]  # other tensors of the file that no network of this kind has
    unused: tuple[str, ...]  # known tensors that this module does not need: the classifier, a later layer

    @property
    def fits(self) -> bool:
        """Whether all tensors fit, so that the module becomes the network of the file."""
        return not (self.missing or self.alien or self.spoiled)

    def to_text(self) -> str:
        """Return the coverage as one line for a log or a message."""
        lists = {'missing or of another shape': self.missing, 'of another network or norm': self.alien,
                 'with values that are not finite': self.spoiled, 'unexpected': self.unexpected}
        text = f'{self.name} ({self.layout}): {self.received} of {self.wanted} tensors'
        text += ''.join(f'; {what}: {shorten(keys)}' for what, keys in lists.items() if keys)
        return text + (f'; {len(self.unused)} not used here, such as {", ".join(self.unused[:2])}'
                       if self.unused else '')


def cover(module: nn.Module, weights: Weights) -> Coverage:
    """Compare the tensors of `module` with those in `weights`."""
    own, state, layout = module.state_dict(), weights.state, LAYOUTS.get(weights.layout)
    wanted = [key for key in own if not key.endswith(COUNTER)]
    missing = _differences(own, state, wanted)
    left = [key for key in state if key not in own and not key.endswith(PROFILER)]
    known = set(left)
    if layout is not None and NETWORKS[layout.network].architecture:
        known = {key for key in left if key.startswith(OTHER_PARTS)} | official_names(layout.network)
    layers = {_layer(key) for key in own}
    alien = [key for key in left if (key not in known and _layer(key) in layers) or _is_statistic(key, own)]
    rest = [key for key in left if key not in alien]
    return Coverage(weights.name, layout.label if layout else weights.layout, len(wanted) - len(missing), len(wanted),
                    missing=tuple(missing), alien=tuple(alien),
                    spoiled=tuple(key for key in wanted if key in state and not state[key].isfinite().all()),
                    unexpected=tuple(key for key in rest if key not in known),
                    unused=tuple(key for key in rest if key in known))


def _differences(own: dict[str, Tensor], state: dict[str, Any], keys: Iterable[str]) -> list[str]:
    return [f'{key} {_shape(own[key])} (the file has {_shape(state.get(key))})' for key in keys
            if not _fits(state.get(key), own[key])]


def _fits(value: Any, own: Tensor) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.shape == own.shape


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else 'none' if value is None else type(value).__name__


def _layer(key: str) -> str:
    """Return the layer of a tensor: `blocks.3.`, `conv_stem.`."""
    match = re.match(r'[^.]+\.(\d+\.)?', key)
    return match[0] if match else key


def _is_statistic(key: str, own: dict[str, Tensor]) -> bool:
    """Whether `key` is a batch norm statistic and the module `own` has the weight of that layer."""
    layer, _, part = key.rpartition('.')
    return part in ('running_mean', 'running_var') and f'{layer}.weight' in own
