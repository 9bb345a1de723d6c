"""Run detectors on images and videos. Needs no torch but for checkpoints (`checkpoint.py`)."""
