"""Check which network of GhostNet's family a weight file fits, and convert it to the authors' tensor names."""
import io
from dataclasses import replace
from pathlib import Path

import torch

from ghostdet.errors import UserError, reason
from ghostdet.files import write_whole
from ghostdet.models import arch
from ghostdet.models.family import LAST_CONV, GhostFamily
from ghostdet.models.networks import NETWORKS
from ghostdet.weights.fitting import Coverage, cover
from ghostdet.weights.layouts import BLOCKS, LAYOUTS
from ghostdet.weights.pretrained import Weights, fitted, official_names, read_weights
from ghostdet.weights.reader import locate, safetensors, split_options

RELU = '\nthis network has a ReLU in its shortcuts: use these weights only with shortcut_relu=True'
PADDING = "\nthis network pads as TensorFlow does: use these weights only with padding='tensorflow'"
LAST = 'blocks.9.0.conv.weight'
WIDEST = f'{BLOCKS[-1]}.se.conv_expand.weight'  # its length shows the width: the bottleneck's expanded channels


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
            f'{beyond}{_notes(weights)}')


def convert(file: str, out: Path, width: float | None, rounding: str | None) -> str:
    """Write the weights in `file` to `out` under the authors' names, and return a report as text.

    Raises:
        UserError: as in `check`; or `out` has the wrong ending, is `file` itself, or cannot be written.
    """
    weights, coverage, network = _fit(file, width, rounding)
    names = official_names(LAYOUTS[weights.layout].network)
    state = {key: value.contiguous() for key, value in weights.state.items() if key in names}
    if out.suffix == '.safetensors' and not _notes(weights):
        content = safetensors().save(state)
    elif out.suffix == '.pth':
        buffer = io.BytesIO()
        meta = dict(source=weights.name, shortcut_relu=weights.shortcut_relu, padding=weights.padding)
        torch.save(dict(state_dict=state, meta=meta), buffer)
        content = buffer.getvalue()
    else:
        raise UserError(f'{out} must end in .pth or .safetensors. A network with a ReLU in its shortcuts needs .pth, '
                        "and so does one with TensorFlow's padding: .safetensors cannot record either")
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
    widens = 'widen' in split_options(file)[1]
    if width is None and widens:
        raise UserError(f'{file}: ?widen needs a target width: add --width')
    weights = read_weights(file)
    layout = LAYOUTS[weights.layout]
    if layout.rename:
        raise UserError(f'{weights.name} holds a {layout.label}, not a GhostNet or successor. A backbone of that kind '
                        "loads it without conversion: init_cfg=dict(type='CompletePretrained', checkpoint=...)")
    tried: dict[str, tuple[Weights, Coverage]] = {}
    for name, network in _networks(weights, width, rounding or ('torch' if widens else None)).items():
        fit = fitted(weights, network, file)
        tried[name] = fit, cover(network, fit)
    best = max(tried, key=lambda name: (tried[name][1].fits, tried[name][1].received))
    fit, coverage = tried[best]
    if not coverage.fits:
        others = (f'. Of {", ".join(tried)} it fits best; try others with --width and --rounding' if len(tried) > 1
                  else '')
        raise UserError(f'{layout.network} {best} does not fit {coverage.to_text()}{others}')
    state = {key: value.to(weights.state[key].dtype) for key, value in fit.state.items()}
    return replace(fit, state=state), coverage, f'{layout.network} {best}'


def _networks(weights: Weights, width: float | None, rounding: str | None) -> dict[str, GhostFamily]:
    """Return the networks that `weights` may belong to, by name, most likely first. The networks use no memory."""
    network = NETWORKS[LAYOUTS[weights.layout].network]
    has_roundings = network.type == 'GhostNet'
    if rounding == 'tensorflow' and not has_roundings:
        raise UserError(f'--rounding tensorflow: {weights.name} is a {network.type} file, and only GhostNet has that '
                        'rounding')
    if width is None:
        widest = weights.state.get(WIDEST)
        assert network.architecture is not None  # other networks are refused in `_fit`
        one = network.architecture().groups[-1][-1].expanded
        width = 1.0 if widest is None or not widest.dim() else round(len(widest) / one, 2)
    options: dict = dict(out_indices=(0, 1, 2, 3, LAST_CONV) if LAST in weights.state else (0, 1, 2, 3))
    networks, wrong = {}, ''
    for rule in [rounding] if rounding else [*arch.ROUNDINGS] if has_roundings else ['torch']:
        try:
            with torch.device('meta'):
                model = network.load()(width, **options, **(dict(rounding=rule) if has_roundings else {}))
            networks[f'{width}x' + (' with rounding=tensorflow' if rule == 'tensorflow' else '')] = model
        except ValueError as error:
            wrong = wrong or str(error)
    if not networks:
        raise UserError(f'--width {width}: {wrong}')
    return networks
