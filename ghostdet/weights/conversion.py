"""What a file of weights is good for, and the same weights under the authors' names."""
import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from safetensors.torch import save

from ghostdet.errors import UserError, reason
from ghostdet.files import write_whole
from ghostdet.models import arch
from ghostdet.models.ghostnet import LAST_CONV, GhostNet
from ghostdet.weights.layouts import LAYOUTS, PLACES
from ghostdet.weights.pretrained import Coverage, Weights, cover, fitted, official_names, read_weights
from ghostdet.weights.source import locate, split_options

RELU = '\nits network has a ReLU in its shortcuts: it is right with shortcut_relu=True alone'
LAST = 'blocks.9.0.conv.weight'
WIDEST = f'{PLACES[-1]}.ghost1.primary_conv.0.weight'  # half of its bottleneck's expanded channels, which tell the width
WIDTHS = (0.5, 1.0, 1.1, 1.3)  # those of the paper and of published files


def check(file: str, width: float | None, rounding: str | None) -> str:
    """What GhostNet would get from `file`, as text; where no width or rounding is given, the one that fits best.

    Raises:
        UserError: it cannot be read, or a backbone would not be the network of its tensors.
    """
    weights, coverage, network = _fit(file, width, rounding)
    beyond = 'too' if LAST in weights.state else 'not, which a classifier would need'
    return (f'{coverage.to_text()}\nall that {network} needs for C2..C5 is there; the last 1x1 convolution {beyond}'
            + (RELU if weights.shortcut_relu else ''))


def convert(file: str, out: Path, width: float | None, rounding: str | None) -> str:
    """Write the weights in `file` to `out` under the authors' names; returns what was done, as text.

    Raises:
        UserError: as `check`; or `out` has another ending, is the file itself, or cannot be written.
    """
    weights, coverage, network = _fit(file, width, rounding)
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
    try:
        if out.exists() and out.samefile(locate(split_options(file)[0])):
            raise UserError(f'{out} is the file that is read: give the converted one another name')
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, content)
    except OSError as error:
        raise UserError(f'{out} cannot be written ({reason(error)}): make room or rights for it there, or name another '
                        'file') from error
    note = RELU if weights.shortcut_relu else ''
    return f'{coverage.to_text()}\n{out}: {len(state)} tensors of {network} in the authors\' names{note}'


def _fit(file: str, width: float | None, rounding: str | None) -> tuple[Weights, Coverage, str]:
    """The weights, in the precision of the file, and the network that gets most of them."""
    options = split_options(file)[1]
    if width is None and 'widen' in options:
        raise UserError(f'{file}: to widen it, say to which --width')
    weights = read_weights(file)
    if LAYOUTS[weights.layout].rename:
        raise UserError(f'{weights.name} holds a {LAYOUTS[weights.layout].label}, no GhostNet. A backbone of that kind takes it '
                        'as it is, and with complete=True in its init_cfg every tensor or none')
    tried: dict[str, tuple[Weights, Coverage]] = {}
    for name, network in _networks(weights, width, rounding or ('torch' if 'widen' in options else None)):
        found = fitted(weights, network, file)
        tried[name] = found, cover(network, found)
        if tried[name][1].fits:
            break
    best = max(tried, key=lambda name: tried[name][1].received)
    found, coverage = tried[best]
    if not coverage.fits:
        others = f'. Of {", ".join(tried)} it fits best; name another with --width and --rounding' if len(tried) > 1 else ''
        raise UserError(f'GhostNet {best} does not fit {coverage.to_text()}{others}')
    state = {key: value.to(weights.state[key].dtype) for key, value in found.state.items()}
    return replace(found, state=state), coverage, f'GhostNet {best}'


def _networks(weights: Weights, width: float | None, rounding: str | None) -> Iterator[tuple[str, GhostNet]]:
    """Those that `weights` may be of, with width and rounding as text, the likeliest first, and without memory for tensors."""
    widest, widths = weights.state.get(WIDEST), [width] if width is not None else [*WIDTHS]
    if width is None and widest is not None and widest.dim():
        guess = round(2 * len(widest) / arch.BOTTLENECKS[-1].expanded, 2)
        widths = [guess, *(other for other in widths if other != guess)]
    out_indices, wrong = (0, 1, 2, 3, LAST_CONV) if LAST in weights.state else (0, 1, 2, 3), []
    pairs = list(product(widths, [rounding] if rounding else arch.ROUNDINGS))
    for factor, kind in pairs:
        try:
            with torch.device('meta'):
                network = GhostNet(factor, kind, out_indices=out_indices)
        except ValueError as error:
            wrong.append(str(error))
        else:
            yield f'{factor}x' + (' with rounding=tensorflow' if kind == 'tensorflow' else ''), network
    if len(wrong) == len(pairs):
        raise UserError(f'--width {width}: {wrong[0]}')
