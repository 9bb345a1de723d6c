"""Adds our names to mmengine's registries, without importing mmdet or torch before they are needed."""
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

REGISTRY = 'mmdet.registry'
NAMES = 'ghostdet.names'
KINDS = ('MODELS', 'TRANSFORMS', 'HOOKS', 'LOOPS', 'RUNNERS', 'METRICS', 'WEIGHT_INITIALIZERS')


def announce() -> None:
    """Call `announce_to` for mmdet's registries, now or as soon as they are imported.

    A detector in an exported file needs no mmdet, so `import ghostdet` does not import it.
    """
    if REGISTRY in sys.modules:
        announce_to(sys.modules[REGISTRY])
    elif not any(isinstance(finder, Announcer) for finder in sys.meta_path):
        sys.meta_path.insert(0, Announcer())
    if 'mmengine.runner.checkpoint' in sys.modules:
        import_module('ghostdet.weights.schemes').add_own()


def announce_to(registries: ModuleType) -> None:
    """Make mmdet's registries and their mmengine parents import our names at their first look-up.

    A registry that already had its first look-up would not import them, so this imports them now.
    """
    for kind in KINDS:
        registry = getattr(registries, kind)
        for one in (registry, registry.parent):
            if NAMES not in one._locations:
                one._locations.insert(0, NAMES)
            if one._imported:
                import_module(NAMES)


class Announcer(MetaPathFinder):
    """Calls `announce_to` after the import of mmdet's registries. Finds no other module, and nothing afterwards."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """Return where mmdet's registries are, with a loader that announces our names."""
        spec = PathFinder.find_spec(name, path) if name == REGISTRY else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            sys.meta_path.remove(self)
            announce_to(module)
        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
