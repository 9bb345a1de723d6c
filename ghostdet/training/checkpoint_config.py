"""Chooses the config of a checkpoint: the one that it carries, or a named one with the same network."""
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from inspect import Parameter, isfunction, signature
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ghostdet.errors import UserError, reason
from ghostdet.messages import LOGGER, brief, shorten
from ghostdet.training.config_file import merge, read_config
from ghostdet.training.image_scale import scale_of
from ghostdet.weights.reader import split_options

AUXILIARY = 'aux_head'  # a detector's head that only trains
# Settings that do not change the boxes of loaded weights, or that a user may want to change for inference.
FREE = ('_delete_', '_scope_', AUXILIARY, 'detach_epoch', 'drop_path_rate', 'dropout_ratio', 'frozen_stages',
        'init_cfg', 'inplace', 'momentum', 'norm_eval', 'num_classes', 'pretrained', 'requires_grad', 'test_cfg',
        'train_cfg', 'type', 'with_cp')
# In the text of a run's config: the depth of images, and the side and the overlap of tiles.
BITS = re.compile(r'^bits ?= ?(\d+)$', re.MULTILINE)
TILE = re.compile(r'^tile ?= ?\[\s*(\d+),\s*(\d+),?\s*\]', re.MULTILINE)
PIXELS = ('bgr_to_rgb', 'mean', 'rgb_to_bgr', 'std')  # settings of a data_preprocessor that count
SAME_TYPES = dict(SyncBN='BN', MMSyncBN='BN', BN2d='BN')


def config_of(checkpoint: str, content: dict, named: str | None, options: Mapping[str, Any]) -> Config:
    """Return the config to run a checkpoint with: the named one, or the one that the checkpoint carries.

    An auxiliary head is left out if the checkpoint has none. A named config without a depth of images or a
    size of tiles gets the checkpoint's.

    Args:
        content: the content of the checkpoint.
        named: path or name of a config; None: take that of the checkpoint.
        options: settings that replace those of the config.

    Raises:
        UserError: there is no config, it cannot be read, or the named one has another network than the checkpoint's.
    """
    meta = content.get('meta') or {}
    cfg = read_config(named, options) if named else stored_config(meta, checkpoint, options)
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    if named and 'bits' not in cfg and (bits := BITS.search(str(meta.get('cfg')))):
        cfg.bits = int(bits[1])
    if named and 'tile' not in cfg and (tile := TILE.search(str(meta.get('cfg')))):
        cfg.tile = [int(tile[1]), int(tile[2])]
    if named and meta.get('dataset_meta'):  # mmdet 2 writes configs of its own kind, and no dataset_meta
        _refuse_other_network(cfg, named, meta, checkpoint, options)
        _compare_scales(cfg, named, meta, checkpoint)
    state, model = content.get('state_dict', content), cfg.get('model') or {}
    if AUXILIARY in model and isinstance(state, dict) and not any(f'{AUXILIARY}.' in str(key) for key in state):
        model[AUXILIARY] = None
    return cfg


def tile_in(cfg: Config) -> tuple[int, int] | None:
    """Return side and overlap, in pixels, of the tiles that a run kept in its config; None without valid ones."""
    kept = cfg.get('tile')
    if not (isinstance(kept, (list, tuple)) and [type(value) for value in kept] == [int, int]):
        return None
    size, overlap = kept
    return (size, overlap) if 0 <= overlap < size else None


def stored_config(meta: dict, checkpoint: str, options: Mapping[str, Any]) -> Config:
    """Read the config that mmengine writes into a run's checkpoints.

    `read_checkpoint` has checked that it is data and no program, unless the user trusts the file. Its work directory
    is the folder of the checkpoint, for weights with a name work_dirs/NAME.

    Raises:
        UserError: the checkpoint has no config, or it cannot be read.
    """
    text = meta.get('cfg')
    if not isinstance(text, str):
        raise UserError(f'{checkpoint} does not contain the config it was trained with (files with only weights do '
                        'not): name it before the checkpoint, as in "ghostdet test CONFIG CHECKPOINT", or for a '
                        'prediction with --config CONFIG')
    file = split_options(checkpoint)[0]
    name = file.rpartition('/')[2].removesuffix('.pth')
    try:
        cfg = Config.fromstring(text, '.py')
        run = cfg.get('experiment_name') or meta.get('experiment_name')  # the config's name, with numbers or times
        cfg = Config(cfg.to_dict(), text, f'{re.sub(r"(_[0-9]+)+$", "", run) if run else name}.py')
        cfg.work_dir = str(Path('work_dirs') / name if '://' in file else Path(file).expanduser().parent)
        merge(cfg, options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f'the config in {checkpoint} cannot be read ({reason(error)}): name one before the '
                        'checkpoint, or for a prediction with --config CONFIG') from error
    return cfg


def _refuse_other_network(cfg: Config, named: str, meta: dict, checkpoint: str, options: Mapping[str, Any]) -> None:
    """Check that a named config has the network of the config in the checkpoint, if that can be read.

    Raises:
        UserError: it has another one.
    """
    try:
        asked = {key: value for key, value in options.items() if key.partition('.')[0] == 'model'}
        own = stored_config(meta, checkpoint, asked).get('model')
    except UserError:
        return
    found = [f'{key}: {brief(value)} in {named}, {brief(other)} in {checkpoint}'
             for key, value, other in differences(cfg.model, own)]
    if found:
        raise UserError(f'the config has another network than the one that {checkpoint} was trained with ('
                        f'{shorten(found)}). Leave out the config: the checkpoint has its own')


def _compare_scales(cfg: Config, named: str, meta: dict, checkpoint: str) -> None:
    """Say if a named config has another test scale than the config in the checkpoint."""
    with suppress(UserError, AttributeError, KeyError):
        own, scale = scale_of(stored_config(meta, checkpoint, {}), 'test')[0], scale_of(cfg, 'test')[0]
        if own and scale and own != scale:
            LOGGER.info(f'{named} resizes images to {scale[0]}x{scale[1]}, but {checkpoint} was trained with a config '
                        f'for {own[0]}x{own[1]}: leave out the config, or add --scale {max(own)}')


def differences(one: Any, other: Any, key: str = 'model') -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings of two models' configs that make their networks compute something else for an image.

    A setting that only one of them has is compared with the default of its type. If that is unknown, it is ignored.

    >>> one = dict(type='GhostNet', width=1.1, norm_eval=True, init_cfg=dict(type='Pretrained', checkpoint='a.pth'))
    >>> list(differences(dict(backbone=one), dict(backbone=dict(type='GhostNet'))))
    [('model.backbone.width', 1.1, 1.0)]
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        kinds = [_name(part.get('type')) for part in (one, other)]
        if kinds[0] != kinds[1]:
            yield f'{key}.type', *kinds
            return
        is_pixels = key.endswith('data_preprocessor')
        defaults = _defaults(one.get('type'))
        for name in {**one, **other}:
            if (name in PIXELS) if is_pixels else not (name in FREE or str(name).startswith('loss')):
                values = [part.get(name, defaults.get(name, Parameter.empty)) for part in (one, other)]
                if Parameter.empty not in values:
                    yield from differences(values[0], values[1], f'{key}.{name}')
    elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        inner = [found for index, pair in enumerate(zip(one, other))
                 for found in differences(pair[0], pair[1], f'{key}.{index}')]
        yield from inner if any(isinstance(part, Mapping) for part in one) else [(key, one, other)][:len(inner)]
    elif one != other:
        yield key, one, other


def _name(kind: Any) -> Any:
    """Return the name of a type, without its module or scope."""
    name = getattr(kind, '__name__', str(kind)).split('.')[-1]
    return SAME_TYPES.get(name, name)


def _defaults(kind: Any) -> dict[str, Any]:
    """Return the defaults of a type's constructor, and of those of its base classes, which get its other arguments."""
    found = kind
    if isinstance(kind, str):
        with suppress(ImportError):  # the package of its scope is missing
            found = MODELS.get(kind) or TASK_UTILS.get(kind)
    makers = [vars(part).get('__init__') for part in reversed(getattr(found, '__mro__', ()))]
    return {name: one.default for maker in makers if isfunction(maker)
            for name, one in signature(maker).parameters.items() if one.default is not Parameter.empty}
