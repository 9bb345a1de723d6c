"""Adds our names to mmengine's registries, without importing mmdet or torch before they are needed.

A registry imports only the modules that have its own names: a look-up of GhostNet imports `ghostdet.models` and, where
mmcv has no operators, `ghostdet.ops`.
"""
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from ghostdet import ops

# Registry -> the modules, in the package, whose names it gets.
MODULES = dict(
    MODELS=('models.ghost_conv', 'models.necks.ghost_pan', 'models.heads.nanodet_plus', 'models.backbones.ghostnet',
            'models.backbones.ghostnetv2', 'models.backbones.ghostnetv3', 'models.backbones.mobilenet',
            'models.backbones.repghostnet'),
    WEIGHT_INITIALIZERS=('weights.initializer',),
    TRANSFORMS=('data.loading',),
    HOOKS=('training.checkpoints', 'training.hooks'),
    LOOPS=('training.loops',),
    RUNNERS=('training.runner',),
    METRICS=('evaluation.metrics',),
    FUNCTIONS=('training.randomness',),  # a registry of mmengine that mmdet has no child of
)
# These do not load on some machines. They are imported before the others, because our errors say how to fix it.
OPERATORS = ('ghostdet.ops.vision', 'mmcv.ops')
SCHEME = 'ghostdet://'


def announce() -> None:
    """Add our names to the registries and to mmengine's checkpoint loader, now or as soon as these are imported.

    A detector in an exported file needs neither, so `import ghostdet` imports neither.
    """
    for name, add in (('mmdet.registry', add_modules), ('mmengine.runner.checkpoint', add_scheme)):
        if name in sys.modules:
            add(sys.modules[name])
        elif not any(isinstance(finder, Announcer) and finder.name == name for finder in sys.meta_path):
            sys.meta_path.insert(0, Announcer(name, add))


def add_modules(registries: ModuleType) -> None:
    """Make mmdet's registries and their mmengine parents import our modules at their first look-up.

    A registry that already had its first look-up would not import them, so this imports them now.
    """
    root = import_module('mmengine.registry')
    for kind, names in MODULES.items():
        modules = [*(OPERATORS if kind == 'MODELS' and ops.is_supplied() else ()),
                   *(f'ghostdet.{name}' for name in names)]
        for registry in (getattr(place, kind) for place in (root, registries) if hasattr(place, kind)):
            registry._locations[:0] = [module for module in modules if module not in registry._locations]
            if registry._imported:
                for module in modules:
                    import_module(module)


def add_scheme(checkpoint: ModuleType) -> None:
    """Let mmengine load `ghostdet://NAME`; its other schemes stay."""
    checkpoint.CheckpointLoader.register_scheme(SCHEME, load_from_ghostdet, force=True)


def load_from_ghostdet(name: str, map_location: Any = None) -> Any:
    """Load published weights by their `ghostdet://` name, see `ghostdet.weights.schemes.load`."""
    return import_module('ghostdet.weights.schemes').load(name, map_location)


class Announcer(MetaPathFinder):
    """Calls `add` after the import of the module `name`. Finds no other module, and nothing afterwards."""

    def __init__(self, name: str, add: Callable[[ModuleType], None]) -> None:
        self.name, self.add = name, add

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """Return where the module is, with a loader that calls `add`."""
        spec = PathFinder.find_spec(name, path) if name == self.name else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self.add(module)
            sys.meta_path.remove(self)
        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
