"""The backbones, one row each: names, class, architecture at any width. Imports no class before it is needed."""
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ghostdet.models import arch


@dataclass(frozen=True)
class Network:
    """A backbone.

    Attributes:
        key: its name in names of weights and configs, before the width: `ghostnetv2` in `ghostnetv2_1.0x`.
        file: the module in `ghostdet.models.backbones` with its class.
        type: name of the class, as in a config.
        architecture: gives the architecture for a width; None: neither GhostNet nor a successor.
    """

    key: str
    file: str
    type: str
    architecture: Callable[..., arch.Architecture] | None = None

    def load(self) -> Any:
        """Import and return the class."""
        return getattr(import_module(f'ghostdet.models.backbones.{self.file}'), self.type)


# By the names that papers use.
NETWORKS = {
    'GhostNet': Network('ghostnet', 'ghostnet', 'GhostNet', arch.ghostnet),
    'GhostNetV2': Network('ghostnetv2', 'ghostnetv2', 'GhostNetV2', arch.ghostnetv2),
    'GhostNetV3': Network('ghostnetv3', 'ghostnetv3', 'GhostNetV3', arch.ghostnetv2),
    'RepGhostNet': Network('repghostnet', 'repghostnet', 'RepGhostNet', arch.repghostnet),
    'MobileNetV2': Network('mobilenetv2', 'mobilenet', 'TruncatedMobileNetV2'),
    'MobileNetV3': Network('mobilenetv3', 'mobilenet', 'TruncatedMobileNetV3'),
    'ShuffleNetV2': Network('shufflenetv2', 'mobilenet', 'TruncatedShuffleNetV2'),
}


def named(name: str) -> tuple[Network, float]:
    """Return the network and the width in a name like `ghostnetv2_1.0x` or `repghostnet_1.11x_timm`.

    >>> network, width = named('repghostnet_1.11x_timm')
    >>> network.type, width, network.architecture(width).channels
    ('RepGhostNet', 1.11, (28, 44, 124, 176))
    """
    key, width = name.split('_')[:2]
    return next(network for network in NETWORKS.values() if network.key == key), float(width.removesuffix('x'))
