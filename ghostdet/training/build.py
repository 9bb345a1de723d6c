"""Builds detectors from configs, without published weights."""
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from ghostdet.errors import PackageError, UserError, reason
from ghostdet.training.datasets import classes_of
from ghostdet.training.initial_weights import drop_weights


@dataclass(frozen=True)
class Trained:
    """A detector in evaluation mode, its class names in label order, and its config."""

    model: nn.Module
    classes: tuple[str, ...]
    cfg: Config


def build_detector(cfg: Config, name: str) -> nn.Module:
    """Build the detector of a config, in evaluation mode, with random weights.

    The weights are those of PyTorch's layer constructors: the initializers of the config do not run.

    Args:
        cfg: changed in place: entries that load weights from files are removed.
        name: name of the config in error messages.

    Raises:
        UserError: the detector cannot be built.
        PackageError: a package that it needs is missing.
    """
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    drop_weights(cfg)
    try:
        model = MODELS.build(cfg.model)
    except PackageError:
        raise
    except Exception as error:  # a config is a program and can raise anything
        raise UserError(f'the model of {name} cannot be built ({reason(error)}): check the config') from error
    model.eval()  # on a line of its own: eval() of mmdet's backbones returns None
    return model


def random_detector(cfg: Config, name: str, seed: int = 0) -> Trained:
    """Build the detector of a config, initialised as for training from scratch.

    Raises:
        UserError: the detector cannot be built.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')  # init_weights lists every tensor
    try:
        with seeded(seed):
            model = build_detector(cfg, name)
            model.init_weights()
    finally:
        logger.setLevel(level)
    return Trained(model, tuple(classes_of(cfg, 'test')), cfg)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the `with` block, and restore its generator afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
