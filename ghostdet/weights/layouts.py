"""Recognise the layout of published weights by its tensor names, and convert the weights exactly.

GhostNet weights get the names of its authors (huawei-noah), those of its successors the names of timm.

Sources: huawei-noah/ghostnet `ghostnet.py` (official, also used by timm), d-li14/ghostnet.pytorch `ghostnet.py`,
PaddleClas `ppcls/arch/backbone/model_zoo/ghostnet.py`; huawei-noah/Efficient-AI-Backbones `ghostnetv2_torch.py` and
`ghostnetv3.py`, ChengpengChen/RepGhost `repghost.py`, timm `ghostnet.py` and `repghost.py`; for TensorFlow see
`tensorflow.py`.
"""
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from ghostdet.errors import UserError, reason
from ghostdet.messages import shorten
from ghostdet.models import arch
from ghostdet.weights.tensorflow import to_torch_axes
from ghostdet.weights.torchvision import mobilenet_v2, mobilenet_v3_large, shufflenet_v2

State = dict[str, Tensor]
WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'params', 'module', 'shadow')
AVERAGES = ('state_dict_ema', 'model_ema', 'ema_state_dict', 'ema')
# of the 16 bottlenecks
BLOCKS = [f'blocks.{group}.{index}' for group, rows in enumerate(arch.ghostnet().groups) for index in range(len(rows))]
KERNELS = dict(zip(BLOCKS, (row.kernel for row in arch.BOTTLENECKS)))
# The layers of GhostNet by their official names, then those of others in the same order; @ stands for a bottleneck.
OFFICIAL = ('conv_stem', 'bn1', '@.ghost1.primary_conv.0', '@.ghost1.primary_conv.1', '@.ghost1.cheap_operation.0',
            '@.ghost1.cheap_operation.1', '@.conv_dw', '@.bn_dw', '@.se.conv_reduce', '@.se.conv_expand',
            '@.ghost2.primary_conv.0', '@.ghost2.primary_conv.1', '@.ghost2.cheap_operation.0',
            '@.ghost2.cheap_operation.1', '@.shortcut.0', '@.shortcut.1', '@.shortcut.2', '@.shortcut.3',
            'blocks.9.0.conv', 'blocks.9.0.bn1', 'head', 'head.norm', 'classifier')
D_LI14 = ('features.0.0', 'features.0.1', '@.conv.0.primary_conv.0', '@.conv.0.primary_conv.1',
          '@.conv.0.cheap_operation.0', '@.conv.0.cheap_operation.1', '@.conv.1.0', '@.conv.1.1', '@.conv.2.fc.0',
          '@.conv.2.fc.2', '@.conv.3.primary_conv.0', '@.conv.3.primary_conv.1', '@.conv.3.cheap_operation.0',
          '@.conv.3.cheap_operation.1', '@.shortcut.0.0', '@.shortcut.0.1', '@.shortcut.1', '@.shortcut.2',
          'squeeze.0', 'squeeze.1', 'classifier.0', 'classifier.1', 'classifier.4')
PADDLE = (*(f'{layer}.{part}' for layer in (
    'conv1', '@.ghost_module_1.primary_conv', '@.ghost_module_1.cheap_operation', '@.depthwise_conv',
    '@.se_block', '@.ghost_module_2.primary_conv', '@.ghost_module_2.cheap_operation', '@.shortcut_depthwise',
    '@.shortcut_conv', 'conv_last', 'fc_0')
    for part in (('squeeze', 'excitation') if layer == '@.se_block' else ('_conv', '_batch_norm'))), 'fc_1')
# A batch norm is named `bn`; after a depthwise convolution without ReLU it is named `output`.
TENSORFLOW = tuple(f'MobileNetV2/{layer}' for layer in (
    'Conv2d_0', 'Conv2d_0/bn', '@_up_pointwise/conv1', '@_up_pointwise/conv1/bn', '@_up_pointwise/dw1',
    '@_up_pointwise/dw1/bn', '@_depthwise', '@_depthwise/output', '@_se/fc1', '@_se/fc2', '@_down_pointwise/conv1',
    '@_down_pointwise/conv1/bn', '@_down_pointwise/dw1', '@_down_pointwise/dw1/output', '@_shortcut_dw',
    '@_shortcut_dw/output', '@_shortcut_1x1', '@_shortcut_1x1/bn', 'Conv2d_17', 'Conv2d_17/bn', 'Conv2d_18',
    'Conv2d_18/bn', 'Logits/Conv2d_1c_1x1'))
# The tensors of a layer in Paddle and TensorFlow, and what PyTorch calls them.
PARTS = {'_mean': 'running_mean', '_variance': 'running_var', 'W': 'weight', 'DW': 'weight', 'b': 'bias',
         'gamma': 'weight', 'beta': 'bias', 'mean/EMA': 'running_mean', 'variance/EMA': 'running_var'}
FOLDED = 'it is folded for inference, so its batch norms and branches are gone'
FEATURES_ONLY = 'it is cut for other outputs, and its layers have other names'


def _layers(theirs: tuple[str, ...], bottleneck: str, first: int) -> dict[str, str]:
    """Return their layers' names -> the official ones; their bottlenecks are numbered from `first`."""
    return {their.replace('@', f'{bottleneck}{number}'): own.replace('@', block)
            for number, block in enumerate(BLOCKS, first) for their, own in zip(theirs, OFFICIAL, strict=True)}


@dataclass(frozen=True)
class Layout:
    """How one source names its tensors."""

    label: str
    mark: str  # a pattern that matches keys of this layout, and of no layout after it
    network: str = 'GhostNet'  # key in NETWORKS of the backbone that has these weights
    layers: dict[str, str] = field(default_factory=dict)  # names of layers -> official names, where they differ
    linear_se: bool = False  # squeeze-and-excitation: Linear layers, a quarter as wide, gate clip(x, 0, 1)
    transposed: bool = False  # Linear weights are stored as (in, out)
    shortcut_relu: bool = False  # shortcuts have a ReLU and 3x3 kernels
    padding: str = 'torch'  # of strided convolutions, as in GhostNet
    prepare: Callable[[State], State] | None = None  # called first
    rename: Callable[[State], State] | None = None  # does everything for a network that is not of GhostNet's family
    refused: str = ''  # why these weights cannot be used

    def fits(self, state: State) -> bool:
        """Return whether tensors are named in this layout."""
        return re.search(self.mark, '\n'.join(state), re.MULTILINE) is not None


LAYOUTS = {
    # A folded GhostNetV3 has V2's attention and a bias in each convolution, as a folded V2.
    'GhostNetV3 folded': Layout(
        'GhostNetV2 or GhostNetV3', r'\.primary_conv\.0\.bias$[\s\S]*\.short_conv\.|_rpr_conv\.0\.0\.bias$',
        'GhostNetV3', refused=FOLDED),
    'folded': Layout('RepGhostNet or GhostNet', r'^blocks\..+\.cheap_operation\.(0\.)?bias$', 'RepGhostNet',
                     refused=FOLDED),
    'GhostNetV3': Layout('GhostNetV3 (huawei-noah, timm)', r'_rpr_', 'GhostNetV3'),
    'GhostNetV2': Layout('GhostNetV2 (huawei-noah, timm)', r'\.short_conv\.', 'GhostNetV2'),
    'RepGhostNet': Layout('RepGhostNet (ChengpengChen, timm)', r'^blocks\..+\.fusion_bn\.', 'RepGhostNet'),
    'features_only': Layout('timm features_only', r'^blocks_\d+\.', refused=FEATURES_ONLY),
    'official': Layout('official (huawei-noah, timm)', r'^(conv_stem\.|blocks\.\d+\.\d+\.ghost[12]\.)'),
    'd-li14': Layout('d-li14', r'^features\.\d+\.conv\.0\.primary_conv', layers=_layers(D_LI14, 'features.', 1),
                     linear_se=True, shortcut_relu=True),
    'paddle': Layout('PaddleClas', r'^_ghostbottleneck_\d+\.', layers=_layers(PADDLE, '_ghostbottleneck_', 0),
                     linear_se=True, transposed=True),
    'tensorflow': Layout('TensorFlow (huawei-noah)', r'^MobileNetV2/Conv2d_\d+_(up|down)_pointwise/',
                         layers=_layers(TENSORFLOW, 'Conv2d_', 1), linear_se=True, padding='tensorflow',
                         prepare=to_torch_axes),
    'mobilenetv2': Layout('MobileNetV2 of torchvision', r'^features\.2\.conv\.0\.0\.', 'MobileNetV2',
                          rename=mobilenet_v2),
    'mobilenetv3': Layout('MobileNetV3 of torchvision', r'^features\.2\.block\.0\.0\.', 'MobileNetV3',
                          rename=mobilenet_v3_large),
    'shufflenetv2': Layout('ShuffleNetV2 of torchvision', r'^stage2\.0\.branch1\.0\.', 'ShuffleNetV2',
                           rename=shufflenet_v2),
}


def unwrap(content: object, name: str, average: bool = False) -> State:
    """Return the tensors in a file's content, without the containers around them.

    Args:
        average: return the exponential moving average (EMA) of the weights, if training stored one.

    Raises:
        UserError: the file has no tensors, or no average.
    """
    if average and isinstance(content, dict) and 'steps' in (content.get('ema_state_dict') or ()):
        average = False  # mmengine's EMAHook swaps them: the model's own weights are the average
    inner = content
    wanted: tuple[str, ...] = AVERAGES if average else WRAPPERS
    while isinstance(inner, dict) and (key := next((key for key in wanted if is_filled(inner, key)), None)):
        inner, wanted = inner[key], (*wanted, *WRAPPERS)
    if average and inner is content:
        raise UserError(f'{name} has no moving average of the weights: expected one of the keys {", ".join(AVERAGES)}')
    tensors = inner.items() if isinstance(inner, dict) else ()
    # Conversions compute with the values, and half precision is not accurate enough.
    state = {str(key): value.float() if value.is_floating_point() and value.itemsize < 4 else value
             for key, value in tensors if isinstance(value, Tensor)}
    if not state:
        holds = ', '.join(map(str, list(content)[:6])) if isinstance(content, dict) else type(content).__name__
        raise UserError(f'{name} holds no tensors with names; it holds {holds}')
    return state


def is_filled(content: object, key: str) -> bool:
    """Return whether a file's content has a container `key` with something in it."""
    return isinstance(content, dict) and isinstance(content.get(key), dict) and bool(content[key])


def below(state: State, prefix: str | None, name: str, usual: str = '') -> State:
    """Return the tensors below `prefix`, or all tensors, with names as in the bare network.

    Prefixes of wrappers (`module.`, `_orig_mod.`, `model.`, `timm_model.`) are removed.

    Args:
        usual: another prefix to remove if present. Classifiers of mmpretrain and detectors use `backbone.`.

    Raises:
        UserError: no tensor is below `prefix`.
    """
    bare = state
    for start in ('module.', '_orig_mod.', 'model.', 'module.', '_orig_mod.',
                  *([usual] if usual and not prefix else []), 'timm_model.'):
        if any(key.startswith(start) for key in bare):  # not all keys: a loss may have its own tensors
            bare = {key.removeprefix(start): value for key, value in bare.items()}
    if not prefix:
        return bare
    start = f'{prefix.rstrip(".")}.'
    for names in (state, bare):
        if own := {key.removeprefix(start): value for key, value in names.items() if key.startswith(start)}:
            return own
    raise UserError(f'{name} has no tensors below the prefix {prefix}; its first keys are {shorten(list(state))}')


def recognise(state: State, name: str) -> str:
    """Return the layout of `state`, a key of LAYOUTS.

    Raises:
        UserError: the layout is unknown, or cannot be used.
    """
    for key, layout in LAYOUTS.items():
        if layout.fits(state):
            if layout.refused:
                raise UserError(f'{name} is a {layout.label} file that cannot be loaded: {layout.refused}. Use the '
                                'weights that it was made from')
            return key
    known = ', '.join(layout.label for layout in LAYOUTS.values() if not (layout.refused or layout.rename))
    raise UserError(f'{name} has no known layout of GhostNet or a successor ({known}); its first keys are '
                    f'{", ".join(list(state)[:4])}')


def to_official(state: State, key: str, name: str) -> State:
    """Convert `state` from the layout `key` to the official names and values. Tensors without an official name keep
    their name.

    MobileNets and ShuffleNetV2 get the names that MMDetection or mmpretrain uses.

    Raises:
        UserError: the file `name` cannot be converted exactly.
    """
    layout = LAYOUTS[key]
    try:
        return layout.rename(state) if layout.rename else _converted(state, layout, name)
    except (IndexError, RuntimeError) as error:
        raise UserError(f'{name} cannot be converted: its tensors do not have the shapes of the layout {layout.label} '
                        f'({reason(error)})') from error


def _converted(state: State, layout: Layout, name: str) -> State:
    if layout.prepare:
        state = layout.prepare(state)
    renamed = {_official_name(tensor, layout): value for tensor, value in state.items()}
    if layout.transposed:
        renamed = {tensor: value.T if value.dim() == 2 else value for tensor, value in renamed.items()}
    for block in BLOCKS:
        if layout.linear_se:
            _convert_se(renamed, f'{block}.se', name)
        shortcut = f'{block}.shortcut.0.weight'
        if shortcut in renamed:  # a 3x3 kernel becomes 5x5 with zeros around it
            margin = (KERNELS[block] - renamed[shortcut].shape[-1]) // 2
            renamed[shortcut] = pad(renamed[shortcut], [margin] * 4)
    if 'head.weight' in renamed:
        _fold_head(renamed)
    if 'conv_head.weight' in renamed and renamed['conv_head.weight'].dim() == 2:  # mmpretrain has a linear layer here
        renamed['conv_head.weight'] = renamed['conv_head.weight'][..., None, None]
    return renamed


def _official_name(name: str, layout: Layout) -> str:
    match = re.fullmatch(r'(.+?)[./](mean/EMA|variance/EMA|[^./]+)', name)
    if not match:
        return name
    layer, part = match.groups()
    if layer in layout.layers:
        return f'{layout.layers[layer]}.{PARTS.get(part, part)}'
    # classifiers of mmpretrain; norms of branches in the authors' GhostNetV3
    layer = {'head.layers.0.fc': 'conv_head', 'head.layers.1.fc': 'classifier'}.get(layer, layer)
    return re.sub(r'(_rpr_(?:conv\.\d+|scale)\.)bn$', r'\1bn1', layer) + name[match.end(1):]


def _convert_se(state: State, module: str, name: str) -> None:
    """Convert linear layers to 1x1 convolutions, by clip(x, 0, 1) = relu6((6x - 3) + 3) / 6. Zeros fill missing units.

    If one of them is missing, or is not linear, nothing is converted, and the comparison with a network reports it.
    """
    keys = [f'{module}.{layer}.{part}' for part in ('weight', 'bias') for layer in ('conv_reduce', 'conv_expand')]
    if [state[key].dim() for key in keys if key in state] != [2, 2, 1, 1]:
        return
    reduce, expand, reduce_bias, expand_bias = (state[key] for key in keys)
    missing = arch.torch_rounding(reduce.shape[1] / 4) - reduce.shape[0]
    if missing < 0:
        raise UserError(f'{name}: {module} has {reduce.shape[0]} units, {-missing} more than GhostNet of this width. '
                        'An exact conversion is not possible. Use a file of another width')
    state |= zip(keys, (pad(reduce, [0, 0, 0, missing])[..., None, None],
                        pad(6 * expand, [0, missing])[..., None, None], pad(reduce_bias, [0, missing]),
                        6 * expand_bias - 3))


def _fold_head(state: State) -> None:
    """Merge the linear layer and the batch norm of the head into one convolution with bias, as the authors have it."""
    weight = state.pop('head.weight').flatten(1)
    norm = {part: state.pop(f'head.norm.{part}', None) for part in ('weight', 'bias', 'running_mean', 'running_var')}
    state.pop('head.norm.num_batches_tracked', None)
    if any(part is None for part in norm.values()):
        return
    scale = norm['weight'] / torch.sqrt(norm['running_var'] + 1e-5)
    state['conv_head.weight'] = (weight * scale[:, None])[..., None, None]
    state['conv_head.bias'] = norm['bias'] - norm['running_mean'] * scale
