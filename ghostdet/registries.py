"""How mmengine's registries learn of our names without importing torch before a name is needed."""
from importlib import import_module

import mmdet.registry

NAMES = 'ghostdet.names'
KINDS = ('MODELS', 'TRANSFORMS', 'HOOKS', 'LOOPS', 'RUNNERS', 'METRICS', 'WEIGHT_INITIALIZERS')


def announce() -> None:
    """Make mmdet's registries, and mmengine's above them, import our names at their first look-up.

    A registry that has had its first look-up would not import them any more; then they are imported now.
    """
    for kind in KINDS:
        registry = getattr(mmdet.registry, kind)
        for one in (registry, registry.parent):
            if NAMES not in one._locations:
                one._locations.insert(0, NAMES)
            if one._imported:
                import_module(NAMES)
