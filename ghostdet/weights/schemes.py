"""The checkpoint loader of mmengine, behind every `load_from`, `resume` and `init_cfg`, with this project's reader in it.

mmengine opens a file in the unsafe way where the safe one fails, and fetched files in the unsafe way at once.
"""
from pathlib import Path
from typing import Any, NoReturn

from mmengine.runner import checkpoint as stock
from mmengine.runner.checkpoint import CheckpointLoader

from ghostdet.download import shown
from ghostdet.errors import UserError
from ghostdet.weights.formats import read
from ghostdet.weights.layouts import unwrap
from ghostdet.weights.pretrained import read_weights
from ghostdet.weights.source import SCHEME, locate, split_options


def load_from_address(name: str, map_location: Any = None) -> Any:
    """Content of the file that a path or an address names; with `?ema` the average in it, in the weights' place."""
    address, options = _options(name)
    content = read(locate(address), map_location or 'cpu')
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
    return load_from_address(address, map_location) if '://' in address else read(Path(stock._get_mmengine_home()) / address)


def load_from_mmcls(name: str, map_location: Any = None) -> Any:
    """The backbone in one of mmpretrain's published files."""
    return stock._process_mmcls_checkpoint(load_from_address(stock.get_mmcls_models()[name.split('://')[1]], map_location))


def load_from_nowhere(name: str, map_location: Any = None) -> NoReturn:
    """Storage that mmengine would read in its own, unsafe way."""
    raise UserError(f'{name} is in a storage that is not read from here: download the file, and give its path')


KNOWN = {'': load_from_address, SCHEME: load_from_catalogue, 'http://': load_from_address, 'https://': load_from_address,
         'torchvision://': load_from_torchvision, 'modelzoo://': load_from_torchvision, 'mmcls://': load_from_mmcls,
         'open-mmlab://': load_from_openmmlab, 'openmmlab://': load_from_openmmlab}
for prefix in {**CheckpointLoader._schemes, **KNOWN}:
    CheckpointLoader.register_scheme(prefix, KNOWN.get(prefix, load_from_nowhere), force=True)
