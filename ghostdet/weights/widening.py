"""Widen weights of GhostNet's family and keep the function: duplicate channels, and divide the weights that read them.

Idea: Net2Net, Chen et al., ICLR 2016, arXiv 1511.05641. Here the duplicates get random, uneven fractions of the divided
weights. The function stays the same, and the duplicates get different gradients.
"""
import re
from collections.abc import Iterable

import torch
from torch import Tensor

from ghostdet.errors import UserError
from ghostdet.weights.layouts import BLOCKS, State

SEED = 0
STATISTIC = 'running_mean'
UNEVENNESS = 0.5  # fractions are drawn from [1 - UNEVENNESS, 1 + UNEVENNESS], then scaled to sum 1


class _Widening:
    def __init__(self, state: State, shapes: dict[str, tuple[int, ...]], unevenness: float) -> None:
        self.state, self.shapes, self.unevenness = state, shapes, unevenness
        self.generator = torch.Generator().manual_seed(SEED)
        self.result: State = {}

    def size(self, key: str, axis: int = 0) -> tuple[int, int]:
        """Return the old and the new length of an axis."""
        return self.state[key].shape[axis], self.shapes[key][axis]

    def copy(self, prefix: str, channels: Tensor) -> None:
        """Copy every tensor under `prefix` (a depthwise convolution, norm or bias), reordered by `channels`."""
        for key, value in self.state.items():
            if key.startswith(prefix):
                self.result[key] = value[channels] if value.dim() else value

    def dense(self, key: str, inputs: Tensor, outputs: Tensor) -> None:
        """Widen a convolution that is not depthwise, and put its weights into `result`.

        Each weight is divided among the duplicates of its input channel, by random fractions that sum to 1.

        Args:
            key: name of the weight.
            inputs, outputs: for each new channel, the index of the old channel that it copies.
        """
        weight = self.state[key].double()[outputs]
        random = torch.rand(len(outputs), len(inputs), generator=self.generator, dtype=torch.float64)
        fractions = 1 + self.unevenness * (2 * random - 1)
        sums = torch.zeros(len(outputs), self.state[key].shape[1], dtype=torch.float64).index_add_(1, inputs, fractions)
        fractions = (fractions / sums[:, inputs]).reshape(*fractions.shape, *[1] * (weight.dim() - 2))
        self.result[key] = weight[:, inputs] * fractions


def channel_map(old: int, new: int, primary: bool = True) -> Tensor:
    """Return, for each of `new` channels, the index of the old channel that it copies.

    With `primary`, the two halves follow the same pattern: a Ghost module returns its primary maps, then their cheap
    ones.

    >>> channel_map(4, 6).tolist()
    [0, 1, 0, 2, 3, 2]
    """
    if not primary:
        return torch.arange(new) % old
    half = torch.arange(new // 2) % (old // 2)
    return torch.cat([half, half + old // 2])


def widen(state: State, shapes: dict[str, tuple[int, ...]], name: str, unevenness: float = UNEVENNESS) -> State:
    """Widen the weights of a GhostNet or a successor: the same features, with duplicated channels.

    Divided weights are float64: rounding to the file's float32 would change the features by about 1e-7.

    Args:
        state: weights by official name.
        shapes: shapes of the wider backbone's tensors, by name. Tensors that only `state` has (the classifier) are
            widened too.
        unevenness: how uneven the fractions of the duplicates are. At 0, duplicates would stay equal in training.

    Raises:
        UserError: a layer of the wider network has fewer channels, or the networks differ in more than width.
    """
    norms = [f'bn1.{STATISTIC}', _cheap_norm(state), _cheap_norm(shapes)]
    _refuse([f'{key} (widening needs batch norm and a cheap operation for each primary map)' for key in norms
             if key not in state or key not in shapes], name)
    _check_grows(state, shapes, name)
    job = _Widening(state, shapes, unevenness)
    channels = channel_map(*job.size('conv_stem.weight'))
    job.dense('conv_stem.weight', torch.arange(3), channels)
    job.copy('bn1.', channels)
    for block in BLOCKS:
        if not _has(shapes, block):
            break
        channels = _widen_bottleneck(job, block, channels)
    if 'blocks.9.0.conv.weight' in shapes:
        last = channel_map(*job.size('blocks.9.0.conv.weight'), primary=False)
        job.dense('blocks.9.0.conv.weight', channels, last)
        job.copy('blocks.9.0.bn1.', last)
        if 'conv_head.weight' in state:
            job.dense('conv_head.weight', last, torch.arange(len(state['conv_head.weight'])))
            job.copy('conv_head.bias', torch.arange(len(state['conv_head.weight'])))
            job.result |= {key: value for key, value in state.items() if key.startswith('classifier.')}
    _refuse([f'{key} {shapes[key]}' for key, value in job.result.items()
             if key in shapes and tuple(value.shape) != shapes[key]], name)
    return job.result


def _widen_bottleneck(job: _Widening, block: str, inputs: Tensor) -> Tensor:
    hidden = _widen_ghost_module(job, f'{block}.ghost1', inputs)
    for part in ('conv_dw', 'bn_dw', 'dw_rpr_conv', 'dw_rpr_scale'):
        job.copy(f'{block}.{part}.', hidden)
    if f'{block}.se.conv_reduce.weight' in job.state:
        units = channel_map(*job.size(f'{block}.se.conv_reduce.weight'), primary=False)
        job.dense(f'{block}.se.conv_reduce.weight', hidden, units)
        job.dense(f'{block}.se.conv_expand.weight', units, hidden)
        job.copy(f'{block}.se.conv_reduce.bias', units)
        job.copy(f'{block}.se.conv_expand.bias', hidden)
    outputs = _widen_ghost_module(job, f'{block}.ghost2', hidden)
    if f'{block}.shortcut.2.weight' in job.state:
        for part in ('shortcut.0', 'shortcut.1'):
            job.copy(f'{block}.{part}.', inputs)
        job.dense(f'{block}.shortcut.2.weight', inputs, outputs)
        job.copy(f'{block}.shortcut.3.', outputs)
    return outputs


def _widen_ghost_module(job: _Widening, module: str, inputs: Tensor) -> Tensor:
    """Widen a Ghost module of any of the networks; return which old channel each of its new output channels copies."""
    dense = [key for key in job.state if re.fullmatch(rf'{module}\.primary_(conv\.0|rpr_conv\.\d\.conv)\.weight', key)]
    old, new = job.size(dense[0])
    # RepGhost adds the cheap maps to the primary ones, the others concatenate them. All outputs follow one pattern,
    # because blocks add their input to their output.
    adds = f'{module}.fusion_bn.0.weight' in job.state
    primary = channel_map(old, new, primary=adds)
    outputs = primary if adds else channel_map(2 * old, 2 * new)
    for key in dense:
        job.dense(key, inputs, primary)
    attention = f'{module}.short_conv.'
    for key in job.state:
        # one filter or value per channel
        if key.startswith(f'{module}.') and not key.startswith(attention) and key not in dense:
            job.copy(key, primary)
    if f'{attention}0.weight' in job.state:
        job.dense(f'{attention}0.weight', inputs, outputs)
        for layer in range(1, 6):
            job.copy(f'{attention}{layer}.', outputs)
    return outputs


def _check_grows(state: State, shapes: dict[str, tuple[int, ...]], name: str) -> None:
    own = {key: tuple(value.shape) for key, value in state.items()}
    shrinking = [f'{key} {own[key]} -> {shape}' for key, shape in shapes.items()
                 if key in own and any(new < old for old, new in zip(own[key], shape))]
    blocks = [block for block in BLOCKS if _has(shapes, block)]
    missing = [key for key in shapes if key not in own and not key.endswith('num_batches_tracked')]
    surplus = [key for key in own if key not in shapes and any(key.startswith(f'{block}.') for block in blocks)]
    _refuse([*shrinking, *missing, *surplus], name)


def _has(names: Iterable[str], block: str) -> bool:
    return any(name.startswith(f'{block}.') for name in names)


def _cheap_norm(names: Iterable[str]) -> str:
    """Return the name of a statistic of the norm after the first cheap operation: GhostNet's if there is none."""
    norms = (name for name in names if re.fullmatch(rf'blocks\.0\.0\.ghost1\.cheap_.*\.{STATISTIC}', name))
    return next(norms, f'blocks.0.0.ghost1.cheap_operation.1.{STATISTIC}')


def _refuse(wrong: list[str], name: str) -> None:
    if wrong:
        raise UserError(f'{name} cannot be widened to this backbone: every layer must keep its kind, and none may lose '
                        f'channels. {len(wrong)} tensors do not fit: {", ".join(wrong[:4])}. Use weights of a smaller '
                        'width')
