"""Training, evaluation and export of detectors."""
