"""Every name of ours that a config can use. mmengine's registries import this file when they are first asked for a name."""
from ghostdet import opencv as _opencv  # noqa: F401  (first: what mmcv says when OpenCV does not load has no cure in it)

import mmcv.ops as _mmcv_ops  # noqa: F401  isort: skip  (mmdet hides the error of operators that do not load)

from ghostdet.data import loading as _loading  # noqa: F401
from ghostdet.engine import checkpoints as _checkpoints  # noqa: F401
from ghostdet.evaluation import metrics as _metrics  # noqa: F401
from ghostdet.models import ghost_conv as _ghost_conv  # noqa: F401
from ghostdet.weights import schemes as _schemes

_schemes.add_own()
