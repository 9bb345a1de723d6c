"""Give the tensors of the authors' TensorFlow network the names and the order of axes that PyTorch has.

What that network does otherwise, and how it is kept:

- Kernels are (H, W, in, out), depthwise ones (H, W, channels, 1): their axes are moved.
- Images are BGR, normalised with ImageNet's mean and deviation: the stem's input channels are reversed, so that it
  takes RGB.
- The attention has C // 4 units and the gate clip(x, 0, 1): `layouts.py` converts both exactly.
- Strided convolutions pad as SAME does: the backbone needs `padding='tensorflow'`.
- Batch norm has epsilon 1e-5, as in PyTorch. The 0.001 in its settings is for layers of another library, and it has
  none of them.
- A batch norm is named `bn`; after a depthwise convolution without ReLU it is named `output`.

Sources: huawei-noah/Efficient-AI-Backbones `tensorflow/ghostnet.py`, `myconv2d.py`, `imagenet_utils.py`; tensorpack
0.9.7 `batch_norm.py`; the names and shapes in the index of the authors' checkpoint.
"""
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from ghostdet.errors import UserError
from ghostdet.messages import shorten
from ghostdet.models import arch

State = dict[str, Tensor]
NORM = {'gamma': 'weight', 'beta': 'bias', 'mean/EMA': 'running_mean', 'variance/EMA': 'running_var'}
CONV, DEPTHWISE, LINEAR, VECTOR = 'convolution', 'depthwise convolution', 'linear layer', 'vector'


class Place(NamedTuple):
    """One tensor of the network."""

    theirs: str  # its name in TensorFlow
    own: str  # its official name
    kind: str


def from_tensorflow(state: State, name: str) -> State:
    """Return the tensors of a checkpoint under the official names. Kernels of linear layers become (out, in).

    Raises:
        UserError: the file `name` misses a tensor, or the shape of a tensor does not fit its layer.
    """
    places = list(_places())
    known = {place.theirs for place in places}
    missing = [place.theirs for place in places if place.theirs not in state]
    others = [key for key in state if key not in known]
    if missing:
        raise UserError(f'{name} misses {shorten(missing)}'
                        + (f'. Tensors of no GhostNet: {shorten(others)}' if others else ''))
    _check_shapes(state, places, name)
    found = {place.own: _moved(state[place.theirs], place.kind) for place in places}
    found['conv_stem.weight'] = found['conv_stem.weight'].flip(1)  # from BGR to RGB
    return found | {key: state[key] for key in others}


def _places() -> Iterator[Place]:
    """Yield all tensors of the network; of each layer the kernel first."""
    yield from _conv('Conv2d_0', 'conv_stem', 'bn1')
    number, channels = 0, arch.STEM
    for group, rows in enumerate(arch.ghostnet().groups):
        for index, row in enumerate(rows):
            number += 1
            has_shortcut = row.stride > 1 or channels != row.out
            yield from _bottleneck(f'Conv2d_{number}', f'blocks.{group}.{index}', row, has_shortcut)
            channels = row.out
    yield from _conv(f'Conv2d_{number + 1}', 'blocks.9.0.conv', 'blocks.9.0.bn1')
    yield from _conv(f'Conv2d_{number + 2}', 'head', 'head.norm', LINEAR)
    yield from _linear('Logits/Conv2d_1c_1x1', 'classifier')


def _bottleneck(scope: str, place: str, row: arch.Bottleneck, has_shortcut: bool) -> Iterator[Place]:
    for module, ghost, norm in ((f'{scope}_up_pointwise', f'{place}.ghost1', 'bn'),
                                (f'{scope}_down_pointwise', f'{place}.ghost2', 'output')):
        yield from _conv(f'{module}/conv1', f'{ghost}.primary_conv.0', f'{ghost}.primary_conv.1')
        yield from _conv(f'{module}/dw1', f'{ghost}.cheap_operation.0', f'{ghost}.cheap_operation.1', DEPTHWISE, norm,
                         'DW')
    if row.stride > 1:
        yield from _conv(f'{scope}_depthwise', f'{place}.conv_dw', f'{place}.bn_dw', DEPTHWISE, 'output')
    if row.squeeze:
        yield from _linear(f'{scope}_se/fc1', f'{place}.se.conv_reduce')
        yield from _linear(f'{scope}_se/fc2', f'{place}.se.conv_expand')
    if has_shortcut:
        yield from _conv(f'{scope}_shortcut_dw', f'{place}.shortcut.0', f'{place}.shortcut.1', DEPTHWISE, 'output')
        yield from _conv(f'{scope}_shortcut_1x1', f'{place}.shortcut.2', f'{place}.shortcut.3')


def _conv(scope: str, conv: str, norm: str, kind: str = CONV, their_norm: str = 'bn',
          kernel: str = 'W') -> Iterator[Place]:
    """Yield a convolution without bias and its batch norm."""
    yield Place(f'MobileNetV2/{scope}/{kernel}', f'{conv}.weight', kind)
    for part, own in NORM.items():
        yield Place(f'MobileNetV2/{scope}/{their_norm}/{part}', f'{norm}.{own}', VECTOR)


def _linear(scope: str, own: str) -> Iterator[Place]:
    yield Place(f'MobileNetV2/{scope}/W', f'{own}.weight', LINEAR)
    yield Place(f'MobileNetV2/{scope}/b', f'{own}.bias', VECTOR)


def _check_shapes(state: State, places: list[Place], name: str) -> None:
    """Check the axes of kernels, and that norms and biases are as long as their kernels say; not the widths."""
    channels = 0
    for theirs, _, kind in places:
        shape = tuple(state[theirs].shape)
        if kind == VECTOR:
            fits, wanted = shape == (channels,), f'({channels},)'
        else:
            height, width, inputs, outputs = shape if len(shape) == 4 else (0, 0, 0, 0)
            fits = height > 0 and (kind != LINEAR or height == width == 1) and (kind != DEPTHWISE or outputs == 1)
            wanted = f'four axes, as a kernel of a {kind} has them'
            channels = inputs if kind == DEPTHWISE else outputs
        if not fits:
            raise UserError(f'{name}: {theirs} has the shape {shape}; expected {wanted}')


def _moved(value: Tensor, kind: str) -> Tensor:
    """Return a tensor with PyTorch's order of axes."""
    if kind == VECTOR:
        return value
    if kind == DEPTHWISE:
        return value.permute(2, 3, 0, 1)  # (H, W, C, 1) -> (C, 1, H, W)
    moved = value.permute(3, 2, 0, 1)  # (H, W, in, out) -> (out, in, H, W)
    return moved[..., 0, 0] if kind == LINEAR else moved
