"""Measurements that the documentation shows, run in a clone, not in the wheel: `python -m benchmarks.NAME`."""
