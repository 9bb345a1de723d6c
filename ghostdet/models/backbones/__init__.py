"""Backbones with multi-scale stage features."""
