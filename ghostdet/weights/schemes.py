"""Load checkpoints by path, URL or scheme (`ghostdet://`, `torchvision://`, ...) without running code in them.

mmengine opens a file in the unsafe way if the safe way fails, and opens downloaded files in the unsafe way at once.
`load` does neither. Within `safe_loading`, or after `enable_safe_loading`, mmengine's own `load_from`, `resume` and
`init_cfg` also load safely.
"""
import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

from mmengine.config import Config
from mmengine.runner import checkpoint as stock
from mmengine.runner.checkpoint import CheckpointLoader

from ghostdet.download import shown
from ghostdet.errors import UserError
from ghostdet.packaged_configs import find_config
from ghostdet.weights.catalogue import DETECTORS
from ghostdet.weights.checkpoint_file import trusting
from ghostdet.weights.formats import read_file
from ghostdet.weights.layouts import unwrap
from ghostdet.weights.nanodet import from_nanodet
from ghostdet.weights.pretrained import read_weights
from ghostdet.weights.source import SCHEME, locate, split_options


def load_from_address(name: str, map_location: Any = None) -> Any:
    """Load a path or URL. With `?ema`, return the moving average as the weights."""
    address, options = _options(name)
    content = read_file(locate(address), map_location or 'cpu')
    if 'ema' not in options:
        return content
    average = unwrap(content, shown(address), average=True)
    return dict(state_dict=average, meta=content.get('meta') or {})


def load_from_catalogue(name: str, map_location: Any = None) -> dict:
    """Load published weights: of a backbone under the official names, of a detector under ours and with its config."""
    address, _ = _options(name)
    detector = DETECTORS.get(address.removeprefix(SCHEME))
    if detector is None:
        return dict(state_dict=read_weights(name).state)
    config = Config.fromfile(find_config(detector.config)).pretty_text
    return dict(state_dict=from_nanodet(read_file(locate(address)), address), meta=dict(cfg=config))


def _options(name: str) -> tuple[str, set[str]]:
    address, options = split_options(name)
    if 'widen' in options:
        raise UserError(f'{shown(address)}?widen works only in the init_cfg of a GhostNet or successor: the result '
                        'depends on its width')
    return address, options


def load_from_torchvision(name: str, map_location: Any = None) -> Any:
    """Load a file that torchvision published."""
    return load_from_address(_listed(stock.get_torchvision_models(), name), map_location)


def load_from_openmmlab(name: str, map_location: Any = None) -> Any:
    """Load a file that OpenMMLab published."""
    models, short = stock.get_external_models(), name.split('://')[1]
    address = _listed(models, f'openmmlab://{stock.get_deprecated_model_names().get(short, short)}')
    if '://' in address:
        return load_from_address(address, map_location)
    return read_file(Path(stock._get_mmengine_home()) / address)


def load_from_mmcls(name: str, map_location: Any = None) -> Any:
    """Load the backbone of a file that mmpretrain published."""
    return stock._process_mmcls_checkpoint(load_from_address(_listed(stock.get_mmcls_models(), name), map_location))


def _listed(models: dict[str, str], name: str) -> str:
    """Return the address of a published file.

    Raises:
        UserError: there is no such name.
    """
    short = name.split('://')[1]
    if short not in models:
        raise UserError(f'there are no weights {name}; similar names: '
                        f'{", ".join(get_close_matches(short, models)) or "none"}')
    return models[short]


def load_from_nowhere(name: str, map_location: Any = None) -> NoReturn:
    """Refuse a kind of storage that only mmengine can read, and only in the unsafe way."""
    raise UserError(f'{name}: cannot read from this kind of storage; download the file and give its path')


KNOWN = {'': load_from_address, SCHEME: load_from_catalogue, 'http://': load_from_address,
         'https://': load_from_address,
         'torchvision://': load_from_torchvision, 'modelzoo://': load_from_torchvision, 'mmcls://': load_from_mmcls,
         'open-mmlab://': load_from_openmmlab, 'openmmlab://': load_from_openmmlab}
SCHEMES = {prefix: KNOWN.get(prefix, load_from_nowhere)
           for prefix in sorted({**CheckpointLoader._schemes, **KNOWN}, reverse=True)}


def load(name: str, map_location: Any = None) -> Any:
    """Load a checkpoint from a path, a URL, `ghostdet://NAME` or another scheme of mmengine.

    Raises:
        UserError: the file cannot be found, is damaged, or holds more than data.
    """
    # longer prefixes come first; the empty one matches all
    prefix = next(prefix for prefix in SCHEMES if re.match(prefix, name))
    return SCHEMES[prefix](name, map_location)


def enable_safe_loading() -> None:
    """Make mmengine read all checkpoints in this process without running code in them.

    This applies to `load_from`, `resume`, `init_cfg`, `load_checkpoint` and mmdet's `init_detector`. A file that holds
    more than data raises an `UnsafeFileError`. ghostdet's own commands and functions always read in this way.

    Examples:
        >>> import ghostdet
        >>> ghostdet.enable_safe_loading()                                                           # doctest: +SKIP
    """
    with _LOCK:
        _RUNS.append('always')
        _use_own()


@contextmanager
def safe_loading(trust: bool = False) -> Iterator[None]:
    """Within this context, make mmengine read checkpoints without running code in them. Several may overlap.

    Args:
        trust: open files that hold more than data anyway, in the unsafe way.
    """
    with _LOCK:
        _RUNS.append('run')
        _use_own()
    try:
        with trusting(trust):
            yield
    finally:
        with _LOCK:
            _RUNS.remove('run')
            if not _RUNS:
                CheckpointLoader._schemes = _STOCK.pop()


_LOCK = Lock()
_RUNS: list[str] = []  # who wants safe loading now
_STOCK: list[Any] = []  # mmengine's own schemes while ours are in their place


def _use_own() -> None:
    if not _STOCK:
        _STOCK.append(CheckpointLoader._schemes)
        CheckpointLoader._schemes = dict(SCHEMES)
