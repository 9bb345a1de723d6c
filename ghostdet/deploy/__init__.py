"""A trained detector made faster, and made a portable file."""
from ghostdet.deploy.inference import optimize

__all__ = ['optimize']
