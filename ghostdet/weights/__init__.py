"""Weights from files: read safely."""
