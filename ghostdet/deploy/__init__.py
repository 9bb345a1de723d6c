"""A trained detector as a fast, portable program."""
from typing import Any

__all__ = ['optimize']


def __getattr__(name: str) -> Any:
    if name == 'optimize':  # when it is asked for: what runs without torch lives in this folder, too
        from ghostdet.deploy.inference import optimize
        return optimize
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
