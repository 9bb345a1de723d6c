"""Check which network of GhostNet's family a weight file fits, and convert it to the authors' tensor names."""
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
from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.family import LAST_CONV, GhostFamily
from ghostdet.weights.layouts import LAYOUTS, PLACES
from ghostdet.weights.pretrained import FAMILY, Coverage, Weights, cover, fitted, official_names, read_weights
from ghostdet.weights.source import locate, split_options

RELU = '\nthis network has a ReLU in its shortcuts: use these weights only with shortcut_relu=True'
PADDING = "\nthis network pads as TensorFlow does: use these weights only with padding='tensorflow'"
LAST = 'blocks.9.0.conv.weight'
WIDEST = f'{PLACES[-1]}.se.conv_expand.weight'  # its length shows the width: the bottleneck's expanded channels
WIDTHS = (0.5, 1.0, 1.1, 1.3)  # from the paper and from published files; tried after the width that WIDEST shows


def check(file: str, width: float | None, rounding: str | None) -> str:
    """Report, as text, what GhostNet or a successor would load from `file`.

    Args:
        width: width of the network; None finds the width that fits best.
        rounding: rounding of the channel numbers; None finds the rounding that fits best.

    Raises:
        UserError: `file` cannot be read, or no such network fits it.
    """
    weights, coverage, network = _fit(file, width, rounding)
    beyond = 'is there too' if LAST in weights.state else 'is missing (only a classifier needs it)'
    return (f'{coverage.to_text()}\nall tensors that {network} needs for C2..C5 are there; the last 1x1 convolution '
            f'{beyond}'
            + _notes(weights))


def convert(file: str, out: Path, width: float | None, rounding: str | None) -> str:
    """Write the weights in `file` to `out` under the authors' names, and return a report as text.

    Raises:
        UserError: as in `check`; or `out` has the wrong ending, is `file` itself, or cannot be written.
    """
    weights, coverage, network = _fit(file, width, rounding)
    names = official_names(LAYOUTS[weights.layout].network)
    state = {key: value.contiguous() for key, value in weights.state.items() if key in names}
    if out.suffix == '.safetensors' and not _notes(weights):
        content = save(state)
    elif out.suffix == '.pth':
        buffer = io.BytesIO()
        meta = dict(source=weights.name, shortcut_relu=weights.shortcut_relu, padding=weights.padding)
        torch.save(dict(state_dict=state, meta=meta), buffer)
        content = buffer.getvalue()
    else:
        raise UserError(f'{out} must end in .pth or .safetensors. A network with a ReLU in its shortcuts needs .pth, '
                        'and so does '
                        "one with TensorFlow's padding: .safetensors cannot record either")
    try:
        if out.exists() and out.samefile(locate(split_options(file)[0])):
            raise UserError(f'{out} is the input file itself: choose another output name')
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, content)
    except OSError as error:
        raise UserError(f'{out} cannot be written ({reason(error)}): check free space and permissions, or choose '
                        'another file') from error
    return f'{coverage.to_text()}\n{out}: {len(state)} tensors of {network} in the authors\' names{_notes(weights)}'


def _notes(weights: Weights) -> str:
    """Return what a backbone needs for these weights beside its width, as lines of text."""
    return (RELU if weights.shortcut_relu else '') + (PADDING if weights.padding == 'tensorflow' else '')


def _fit(file: str, width: float | None, rounding: str | None) -> tuple[Weights, Coverage, str]:
    """Return the weights in the file's precision, what the best fitting network gets from them, and its name."""
    options = split_options(file)[1]
    if width is None and 'widen' in options:
        raise UserError(f'{file}: ?widen needs a target width: add --width')
    weights = read_weights(file)
    if LAYOUTS[weights.layout].rename:
        raise UserError(f'{weights.name} holds a {LAYOUTS[weights.layout].label}, not a GhostNet or successor. A '
                        'backbone of '
                        "that kind loads it without conversion: init_cfg=dict(type='CompletePretrained', "
                        "checkpoint=...)")
    kind = LAYOUTS[weights.layout].network
    tried: dict[str, tuple[Weights, Coverage]] = {}
    for name, network in _networks(weights, width, rounding or ('torch' if 'widen' in options else None)):
        found = fitted(weights, network, file)
        tried[name] = found, cover(network, found)
        if tried[name][1].fits:
            break
    best = max(tried, key=lambda name: tried[name][1].received)
    found, coverage = tried[best]
    if not coverage.fits:
        others = (f'. Of {", ".join(tried)} it fits best; try others with --width and --rounding'
                  if len(tried) > 1 else '')
        raise UserError(f'{kind} {best} does not fit {coverage.to_text()}{others}')
    state = {key: value.to(weights.state[key].dtype) for key, value in found.state.items()}
    return replace(found, state=state), coverage, f'{kind} {best}'


def _networks(weights: Weights, width: float | None, rounding: str | None) -> Iterator[tuple[str, GhostFamily]]:
    """Yield (name, network) for each network that `weights` may belong to, most likely first.

    The networks use no memory.
    """
    kind = FAMILY[LAYOUTS[weights.layout].network]
    if kind is not GhostNet and rounding == 'tensorflow':
        raise UserError(f'--rounding tensorflow: {weights.name} is a {kind.__name__} file, and only GhostNet has that '
                        'rounding')
    widest, widths = weights.state.get(WIDEST), [width] if width is not None else [*WIDTHS]
    if width is None and widest is not None and widest.dim():
        with torch.device('meta'):
            guess = round(len(widest) / kind().arch.groups[-1][-1].expanded, 2)
        widths = [guess, *(other for other in widths if other != guess)]
    out_indices, wrong = (0, 1, 2, 3, LAST_CONV) if LAST in weights.state else (0, 1, 2, 3), []
    roundings = [rounding] if rounding else [*arch.ROUNDINGS] if kind is GhostNet else ['torch']
    pairs = list(product(widths, roundings))
    for factor, rule in pairs:
        try:
            with torch.device('meta'):
                plain = kind is not GhostNet
                network = (kind(factor, out_indices=out_indices) if plain
                           else GhostNet(factor, rule, out_indices=out_indices))
        except ValueError as error:
            wrong.append(str(error))
        else:
            yield f'{factor}x' + (' with rounding=tensorflow' if rule == 'tensorflow' else ''), network
    if len(wrong) == len(pairs):
        raise UserError(f'--width {width}: {wrong[0]}')
