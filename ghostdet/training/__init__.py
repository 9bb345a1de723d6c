"""Train and evaluate detectors from configs."""
import io
from contextlib import redirect_stdout

import ghostdet.images.opencv  # noqa: F401  (before mmdet: its message says how to fix an OpenCV that does not load)

with redirect_stdout(io.StringIO()):  # mmdet prints that an optional package of its authors is missing
    import mmdet.datasets  # noqa: F401
