"""What a file of weights is good for, and the same weights under the authors' names."""
import io
from pathlib import Path

import torch
from safetensors.torch import save

from ghostdet.errors import UserError
from ghostdet.files import write_whole
from ghostdet.models.ghostnet import LAST_CONV, GhostNet
from ghostdet.weights.pretrained import Coverage, Weights, cover, fitted, locate, official_names, read_weights, split_options

RELU = '\nits network has a ReLU in its shortcuts: it is right with shortcut_relu=True alone'
LAST = 'blocks.9.0.conv.weight'
WIDTHS = (0.5, 1.0, 1.1, 1.3)  # those of the paper and of published files


def check(file: str, width: float | None, rounding: str) -> str:
    """What GhostNet would get from `file`, as text.

    Raises:
        UserError: it cannot be read, or a backbone would not get all of its tensors.
    """
    weights, coverage, width = _fit(file, width, rounding)
    beyond = 'too' if LAST in weights.state else 'not, which a classifier would need'
    return (f'{coverage.to_text()}\nall that GhostNet {width}x needs for C2..C5 is there; the last 1x1 convolution {beyond}'
            + (RELU if weights.shortcut_relu else ''))


def convert(file: str, out: Path, width: float | None, rounding: str) -> str:
    """Write the weights in `file` to `out` under the authors' names; returns what was done, as text.

    Raises:
        UserError: as `check`; or `out` has another ending, or is the file itself.
    """
    weights, coverage, width = _fit(file, width, rounding)
    if out.exists() and out.samefile(locate(split_options(file)[0])):
        raise UserError(f'{out} is the file that is read: give the converted one another name')
    state = {key: value.contiguous() for key, value in weights.state.items() if key in official_names()}
    if out.suffix == '.safetensors' and not weights.shortcut_relu:
        content = save(state)
    elif out.suffix == '.pth':
        buffer = io.BytesIO()
        torch.save(dict(state_dict=state, meta=dict(source=weights.name, shortcut_relu=weights.shortcut_relu)), buffer)
        content = buffer.getvalue()
    else:
        raise UserError(f'{out} has to end in .pth or .safetensors; of a network with ReLU in its shortcuts, in .pth, which can '
                        'tell so')
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, content)
    note = RELU if weights.shortcut_relu else ''
    return f'{coverage.to_text()}\n{out}: {len(state)} tensors of GhostNet {width}x in the authors\' names{note}'


def _fit(file: str, width: float | None, rounding: str) -> tuple[Weights, Coverage, float]:
    if width is None and 'widen' in split_options(file)[1]:
        raise UserError(f'{file}: to widen it, say to which --width')
    weights = read_weights(file)
    coverages = {}
    for candidate in WIDTHS if width is None else (width,):
        backbone = GhostNet(candidate, rounding, out_indices=(0, 1, 2, 3, LAST_CONV) if LAST in weights.state else (0, 1, 2, 3))
        found = fitted(weights, backbone, file) if width is not None else weights
        coverages[candidate] = found, cover(backbone, found)
    best = max(coverages, key=lambda candidate: coverages[candidate][1].received)
    weights, coverage = coverages[best]
    if coverage.missing:
        raise UserError(f'GhostNet {best}x would not get all of its tensors from {coverage.to_text()}')
    return weights, coverage, best
