"""Adds our names to mmengine's registries without importing torch before a name is needed."""
from importlib import import_module

import mmdet.registry

NAMES = 'ghostdet.names'
KINDS = ('MODELS', 'TRANSFORMS', 'HOOKS', 'LOOPS', 'RUNNERS', 'METRICS', 'WEIGHT_INITIALIZERS')


def announce() -> None:
    """Make mmdet's registries and their mmengine parents import our names at their first look-up.

    A registry that already had its first look-up would not import them, so this imports them now.
    """
    for kind in KINDS:
        registry = getattr(mmdet.registry, kind)
        for one in (registry, registry.parent):
            if NAMES not in one._locations:
                one._locations.insert(0, NAMES)
            if one._imported:
                import_module(NAMES)
