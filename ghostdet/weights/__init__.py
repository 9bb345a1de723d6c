"""Pretrained weights: find, read safely, convert and load."""
