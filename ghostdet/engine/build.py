"""A detector built from a config, without its published weights: the one place for that."""
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from ghostdet.engine.datasets import classes_of
from ghostdet.engine.initial_weights import drop_weights
from ghostdet.errors import UserError, reason


@dataclass(frozen=True)
class Trained:
    """A detector in evaluation mode, the names of its classes by label, and the config it was built from."""

    model: nn.Module
    classes: tuple[str, ...]
    cfg: Config


def build_detector(cfg: Config, name: str, seed: int = 0) -> nn.Module:
    """The detector of a config in evaluation mode, with the random weights that its layers are made with.

    Args:
        cfg: initial weights that it names are dropped from it.
        name: what messages call the config.
        seed: of the random weights; torch's own generator stays as it is.

    Raises:
        UserError: it cannot be built.
    """
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    drop_weights(cfg)
    try:
        with _seeded(seed):
            model = MODELS.build(cfg.model)
    except Exception as error:  # a config is a program, which fails in its own ways
        raise UserError(f'the model of {name} cannot be built ({reason(error)}): check the config') from error
    model.eval()  # on a line of its own: eval() of mmdet's backbones returns None
    return model


def random_detector(cfg: Config, name: str, seed: int = 0) -> Trained:
    """The detector of a config, initialised as at the start of a training from scratch.

    Raises:
        UserError: it cannot be built.
    """
    model = build_detector(cfg, name, seed)
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')  # init_weights lists every tensor
    try:
        with _seeded(seed):
            model.init_weights()
    finally:
        logger.setLevel(level)
    return Trained(model, tuple(classes_of(cfg, 'test')), cfg)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
