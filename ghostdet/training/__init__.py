"""Train and evaluate detectors from configs."""
