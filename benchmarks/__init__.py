"""Studies: measurements that the documentation shows. They run in a clone and are not in the wheel: `python -m
benchmarks.NAME`.
"""
