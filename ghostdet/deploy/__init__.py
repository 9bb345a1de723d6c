"""Make a trained detector faster, or export it to a portable file."""
from ghostdet.deploy.folding import fold
from ghostdet.deploy.inference import optimize

__all__ = ['fold', 'optimize']
