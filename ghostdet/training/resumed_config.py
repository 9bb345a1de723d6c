"""Compares the config of a resumed run with the one in its checkpoint, and stretches the schedule of a longer run."""
import re
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from ghostdet.errors import UserError
from ghostdet.messages import LOGGER, shorten

IN_EPOCHS = ('begin', 'end', 'milestones', 'T_max', 'total_steps', 'step_size', 'periods')
# Set by ghostdet itself, not used in training, or reported elsewhere: the data, the seed, the length, the rates.
NOT_COMPARED = re.compile(
    r'(work_dir|experiment_name|launcher|resume|env_cfg|model_wrapper_cfg|visualizer|expected|schedule_epochs|test_\w+'
    r'|auto_scale_lr|param_scheduler|counts|tile|train_cfg\.(max_\w+|val_interval)|randomness\.seed'
    r'|optim_wrapper\.optimizer\.lr)\b.*'
    r'|.*\.(collect_device|outfile_prefix)|.*\.metainfo\.classes.*')
NO_EFFECT = re.compile(
    r'load_from|.*\binit_cfg\b.*|.*\bpretrained\b.*|optim_wrapper\.optimizer\..*|optim_wrapper\.paramwise_cfg\..*decay.*')


def follow_config(cfg: Config, meta: dict) -> None:
    """Stretch the schedule of a resumed run to its number of epochs, and log which settings differ from before.

    Args:
        meta: the `meta` of the checkpoint. Its `cfg` is the config of the checkpoint's run, as text.

    Raises:
        UserError: the config has another type of optimizer.
    """
    stored = config_in(meta)
    if stored is None:
        return
    for name, new in (cfg.get('counts') or {}).items():
        old = (stored.get('counts') or {}).get(name, new)
        if old != new:
            LOGGER.warning(f'ATTENTION: the {name} split has {new[0]} images with {new[1]} boxes, but it had {old[0]} '
                           f'with {old[1]} in the checkpoint\'s run')
    _stretch(cfg, stored)
    _refuse_other_optimizer(cfg, stored)
    paths = [path for path in _differences(stored.to_dict(), cfg.to_dict(), (str(stored.get('work_dir')), cfg.work_dir))
             if not NOT_COMPARED.fullmatch(path)]
    restored = [path for path in paths if NO_EFFECT.fullmatch(path)]
    others = [path for path in paths if path not in restored]
    if restored:
        LOGGER.info('--resume restores the weights and the state of the optimizer, so these settings have no effect: '
                    f'{shorten(restored)}')
    if others:
        LOGGER.info(f'other settings that differ from the checkpoint\'s run: {shorten(others)}')


def config_in(meta: dict) -> Config | None:
    """Return the config of a checkpoint's run; None if it has none that can be read."""
    if not isinstance(meta.get('cfg'), str):
        return None
    try:
        return Config.fromstring(meta['cfg'], '.py')
    except Exception:  # noqa: BLE001 (a config is a program and can raise anything)
        LOGGER.info('the config in the checkpoint cannot be read, so this run is not compared with it')
        return None


def _stretch(cfg: Config, stored: Config) -> None:
    """Scale what a schedule gives in epochs to the number of epochs, unless the user changed the schedule, too.

    The config then has `schedule_epochs`, the number that it was given for: a later resume from the same config file
    scales it in the same way.
    """
    old, new = ((one.get('train_cfg') or {}).get('max_epochs') for one in (stored, cfg))
    if not (type(old) is type(new) is int and old > 0 and new > 0):
        return
    wanted = _schedules(cfg)
    for given in dict.fromkeys((stored.get('schedule_epochs') or old, old)):
        if _by_epoch(_scaled(wanted, given, old)) != _by_epoch(_schedules(stored)):
            continue
        result = _scaled(wanted, given, new)
        changes = [f'{one["type"]} {key} {one[key]} -> {other[key]}' for one, other in zip(wanted, result)
                   for key in IN_EPOCHS if one.get(key) != other.get(key)]
        if changes:
            cfg.param_scheduler, cfg.schedule_epochs = result, given
        if changes and old != new:
            LOGGER.info(f'the schedule is stretched from {given} to {new} epochs: {"; ".join(changes)}')
        return


def _schedules(cfg: Config) -> list[dict]:
    schedules = cfg.to_dict().get('param_scheduler') or []
    return schedules if isinstance(schedules, list) else [schedules]


def _by_epoch(schedules: list[dict]) -> list[dict]:
    return [one for one in schedules if one.get('by_epoch', True)]


def _scaled(schedules: list[dict], old: int, new: int) -> list[dict]:
    """Return schedules of a run of `old` epochs for one of `new` epochs."""
    def scaled(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [scaled(one) for one in value]
        return value if value is None else round(value * new / old)
    return schedules if old == new else [
        {key: scaled(value) if key in IN_EPOCHS and one.get('by_epoch', True) else value for key, value in one.items()}
        for one in schedules]


def _refuse_other_optimizer(cfg: Config, stored: Config) -> None:
    """Check that both configs have one type of optimizer.

    Torch would take the state of another one: the first step fails then, or AdamW computes as Adam does.

    Raises:
        UserError: the types differ.
    """
    old, new = (str(((one.get('optim_wrapper') or {}).get('optimizer') or {}).get('type', '')).rpartition('.')[2]
                for one in (stored, cfg))
    if old and old != new:
        raise UserError(f'the config has the optimizer {new}, but the checkpoint has the state of {old}: keep {old} '
                        '(optim_wrapper.optimizer), or start from the weights with --load-from')


def _differences(old: Any, new: Any, work_dirs: tuple[str, str], path: str = '') -> Iterator[str]:
    """Yield the dotted names of settings that differ. The work directory may have been moved."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(old.get(key), new.get(key), work_dirs, f'{path}.{key}' if path else str(key))
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new)):
            yield from _differences(one, other, work_dirs, f'{path}.{index}')
    elif old != new and str(old).replace(*work_dirs) != str(new):
        yield path
