"""Studies: measurements that the documentation shows. They run in a clone: `python -m benchmarks.NAME`."""
import ghostdet.training  # noqa: F401  (gives mmcv its operators before mmdet asks for them)
