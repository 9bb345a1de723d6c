"""Builds detectors from configs, without published weights."""
from dataclasses import dataclass

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from ghostdet.errors import PackageError, UserError, reason
from ghostdet.training.initial_weights import drop_weights


@dataclass(frozen=True)
class Trained:
    """A detector in evaluation mode, its class names in label order, and its config.

    Attributes:
        thresholds: with the best F1 in the last evaluation: `all`, and `classes` by name; None: unknown.
    """

    model: nn.Module
    classes: tuple[str, ...]
    cfg: Config
    thresholds: dict | None = None


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
