"""Make a trained detector faster, or export it to a portable file."""
from ghostdet.models.folding import fold
from ghostdet.models.inference import optimize

__all__ = ['fold', 'optimize']
