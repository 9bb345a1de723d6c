"""Load checkpoints for mmengine: published weights under the names of our networks, everything without running code.

mmengine opens a file in the unsafe way if the safe way fails, and opens downloaded files in the unsafe way at once.
`load` does neither. Within `safe_loading`, or after `enable_safe_loading`, mmengine's own `load_from`, `resume` and
`init_cfg` also load safely.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from mmengine.config import Config
from mmengine.runner import checkpoint as stock
from mmengine.runner.checkpoint import CheckpointLoader

from ghostdet.download import shown
from ghostdet.errors import UserError
from ghostdet.packaged_configs import find_config
from ghostdet.weights.catalogue import DETECTORS
from ghostdet.weights.checkpoint_file import trusting
from ghostdet.weights.layouts import unwrap
from ghostdet.weights.nanodet import from_nanodet
from ghostdet.weights.pretrained import read_weights
from ghostdet.weights.reader import LISTS, SCHEME, read, split_options

# Of a detector of mmdet. Its files also hold data_preprocessor.mean, or ema_*: the weights that were not averaged.
DETECTOR_PARTS = ('backbone.', 'neck.', 'bbox_head.')


def load(name: str, map_location: Any = None) -> Any:
    """Load a checkpoint by any name that `reader.read` takes. With `?ema`, return the moving average as the weights.

    Published weights get the names of our networks: those of a backbone the official ones. A detector comes with its
    config.

    Raises:
        UserError: the file cannot be found, is damaged, or holds more than data.
    """
    address, options = split_options(name)
    if 'widen' in options:
        raise UserError(f'{shown(address)}?widen works only in the init_cfg of a GhostNet or successor: the result '
                        'depends on its width')
    detector = DETECTORS.get(address.removeprefix(SCHEME)) if address.startswith(SCHEME) else None
    if address.startswith(SCHEME) and detector is None:
        return dict(state_dict=dict(read_weights(name).state))
    content = read(address, map_location or 'cpu')
    if detector is not None:
        config = Config.fromfile(find_config(detector.config)).pretty_text
        from mmdet.datasets import CocoDataset
        meta = dict(cfg=config, experiment_name=detector.config,
                    dataset_meta=dict(classes=CocoDataset.METAINFO['classes']))
        state = from_nanodet(content, address) if detector.layout == 'nanodet' else {
            key: value for key, value in unwrap(content, address).items() if key.startswith(DETECTOR_PARTS)}
        return dict(state_dict=state, meta=meta)
    if address.startswith('mmcls://'):
        content = stock._process_mmcls_checkpoint(content)
    if 'ema' not in options:
        return content
    return dict(state_dict=unwrap(content, shown(address), average=True), meta=content.get('meta') or {})


def enable_safe_loading() -> None:
    """Make mmengine read all checkpoints in this process without running code in them.

    This applies to `load_from`, `resume`, `init_cfg`, `load_checkpoint` and mmdet's `init_detector`. A file that holds
    more than data raises an `UnsafeFileError`. ghostdet's own commands and functions always read in this way.

    Examples:
        >>> import ghostdet
        >>> ghostdet.enable_safe_loading()                                                           # doctest: +SKIP
    """
    _use_own()


@contextmanager
def safe_loading(trust: bool = False) -> Iterator[None]:
    """Within this context, make mmengine read checkpoints without running code in them. Several may overlap.

    Args:
        trust: open files that hold more than data anyway, in the unsafe way.
    """
    _use_own()
    try:
        with trusting(trust):
            yield
    finally:
        _end_use()


_LOCK = Lock()
_STOCK: list[Any] = []  # mmengine's own schemes, once for each user of ours


def _use_own() -> None:
    with _LOCK:
        _STOCK.append(_STOCK[0] if _STOCK else CheckpointLoader._schemes)
        CheckpointLoader._schemes = dict.fromkeys(sorted({*_STOCK[0], *LISTS, SCHEME}, reverse=True), load)


def _end_use() -> None:
    with _LOCK:
        before = _STOCK.pop()
        if not _STOCK:
            CheckpointLoader._schemes = before
