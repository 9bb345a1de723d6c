"""Train and evaluate detectors from configs."""
import io
from contextlib import redirect_stdout

with redirect_stdout(io.StringIO()):  # mmdet prints that an optional package of its authors is missing
    import mmdet.datasets  # noqa: F401
