"""Use a trained detector: from Python, on folders and videos, and on a demo page."""
