"""Convert the published checkpoint of NanoDet-Plus to a detector of this package."""
from typing import Any

from ghostdet.errors import UserError
from ghostdet.weights.layouts import State
from ghostdet.weights.torchvision import shufflenet_v2

AVERAGE, LAST = 'avg_model.', 'model.'  # the moving average and the last weights in a file of PyTorch Lightning
PARTS = {'fpn.': 'neck.', 'head.': 'bbox_head.', 'aux_fpn.': 'aux_neck.', 'aux_head.': 'aux_head.'}


def from_nanodet(content: Any, name: str) -> State:
    """Return the tensors of a NanoDet-Plus checkpoint under the names of our detector.

    It takes the moving average of the weights, which the published AP is of, or the last weights if there is no
    average.

    Raises:
        UserError: the file is not such a checkpoint.
    """
    state = content.get('state_dict') if isinstance(content, dict) else None
    state = state if isinstance(state, dict) else {}
    prefix = AVERAGE if any(str(key).startswith(AVERAGE) for key in state) else LAST
    own = {key.removeprefix(prefix): value for key, value in state.items() if str(key).startswith(prefix)}
    if not any(key.startswith('fpn.') for key in own):
        raise UserError(f'{name} is no checkpoint of NanoDet-Plus: it has no tensors {prefix}fpn.*')
    backbone = shufflenet_v2({key.removeprefix('backbone.'): value for key, value in own.items()
                              if key.startswith('backbone.')})
    rest = {new + key.removeprefix(old): value for old, new in PARTS.items() for key, value in own.items()
            if key.startswith(old)}
    return {**{f'backbone.{key}': value for key, value in backbone.items()}, **rest}
