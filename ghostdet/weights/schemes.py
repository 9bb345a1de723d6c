"""How checkpoints are found by name and read as data: this project's loader for every scheme that mmengine knows.

mmengine opens a file in the unsafe way where the safe one fails, and fetched files in the unsafe way at once. `load` never does.
mmengine's own `load_from`, `resume` and `init_cfg` read in this way within `safe_loading`, or after `enable_safe_loading`.
"""
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from mmengine.runner import checkpoint as stock
from mmengine.runner.checkpoint import CheckpointLoader

from ghostdet.download import shown
from ghostdet.errors import UserError
from ghostdet.weights.checkpoint_file import trusting
from ghostdet.weights.formats import read_file
from ghostdet.weights.layouts import unwrap
from ghostdet.weights.pretrained import read_weights
from ghostdet.weights.source import SCHEME, locate, split_options


def load_from_address(name: str, map_location: Any = None) -> Any:
    """Content of the file that a path or an address names; with `?ema` the average in it, in the weights' place."""
    address, options = _options(name)
    content = read_file(locate(address), map_location or 'cpu')
    if 'ema' not in options:
        return content
    average = unwrap(content, shown(address), average=True)
    return dict(state_dict=average, meta=content.get('meta') or {})


def load_from_catalogue(name: str, map_location: Any = None) -> dict:
    """Published weights under the official names."""
    _options(name)
    return dict(state_dict=read_weights(name).state)


def _options(name: str) -> tuple[str, set[str]]:
    address, options = split_options(name)
    if 'widen' in options:
        raise UserError(f'{shown(address)}?widen is for the init_cfg of a GhostNet: what is widened depends on its width')
    return address, options


def load_from_torchvision(name: str, map_location: Any = None) -> Any:
    """Content of one of torchvision's published files."""
    return load_from_address(stock.get_torchvision_models()[name.split('://')[1]], map_location)


def load_from_openmmlab(name: str, map_location: Any = None) -> Any:
    """Content of one of OpenMMLab's published files."""
    name = name.split('://')[1]
    address = stock.get_external_models()[stock.get_deprecated_model_names().get(name, name)]
    return load_from_address(address, map_location) if '://' in address else read_file(Path(stock._get_mmengine_home()) / address)


def load_from_mmcls(name: str, map_location: Any = None) -> Any:
    """The backbone in one of mmpretrain's published files."""
    return stock._process_mmcls_checkpoint(load_from_address(stock.get_mmcls_models()[name.split('://')[1]], map_location))


def load_from_nowhere(name: str, map_location: Any = None) -> NoReturn:
    """Storage that mmengine would read in its own, unsafe way."""
    raise UserError(f'{name} is in a storage that is not read from here: download the file, and give its path')


KNOWN = {'': load_from_address, SCHEME: load_from_catalogue, 'http://': load_from_address, 'https://': load_from_address,
         'torchvision://': load_from_torchvision, 'modelzoo://': load_from_torchvision, 'mmcls://': load_from_mmcls,
         'open-mmlab://': load_from_openmmlab, 'openmmlab://': load_from_openmmlab}
SCHEMES = {prefix: KNOWN.get(prefix, load_from_nowhere)
           for prefix in sorted({**CheckpointLoader._schemes, **KNOWN}, reverse=True)}


def load(name: str, map_location: Any = None) -> Any:
    """Content of a checkpoint: a path, an address or a name in one of mmengine's schemes or in `ghostdet://`.

    Raises:
        UserError: it cannot be found, is damaged, or holds more than data.
    """
    prefix = next(prefix for prefix in SCHEMES if re.match(prefix, name))  # longer ones come first; the empty one fits all
    return SCHEMES[prefix](name, map_location)


def add_own() -> None:
    """Teach mmengine the scheme `ghostdet://`; its other schemes stay its own."""
    CheckpointLoader.register_scheme(SCHEME, load_from_catalogue, force=True)


def enable_safe_loading() -> None:
    """From now on, mmengine reads checkpoints as data in this process, whoever asks for them.

    This concerns `load_from`, `resume`, `init_cfg`, `load_checkpoint` and mmdet's `init_detector`. A file that holds more than
    data is refused with an `UnsafeFileError`. ghostdet's own commands and functions read in this way without being asked.

    Example:
        >>> import ghostdet
        >>> ghostdet.enable_safe_loading()                                                           # doctest: +SKIP
    """
    CheckpointLoader._schemes = dict(SCHEMES)


@contextmanager
def safe_loading(trust: bool = False) -> Iterator[None]:
    """Within this, mmengine reads checkpoints as data.

    Args:
        trust: open files that hold more than data all the same, in the unsafe way.
    """
    before = CheckpointLoader._schemes
    enable_safe_loading()
    try:
        with trusting(trust):
            yield
    finally:
        CheckpointLoader._schemes = before
