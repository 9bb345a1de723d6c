"""Recognise the layout of published weights by its tensor names, and convert the weights exactly.

GhostNet weights get the names of its authors (huawei-noah), those of its successors the names of timm.

Sources: huawei-noah/ghostnet `ghostnet.py` (official, also used by timm), d-li14/ghostnet.pytorch `ghostnet.py`,
PaddleClas `ppcls/arch/backbone/model_zoo/ghostnet.py`; huawei-noah/Efficient-AI-Backbones `ghostnetv2_torch.py` and
`ghostnetv3.py`, ChengpengChen/RepGhost `repghost.py`, timm `ghostnet.py` and `repghost.py`; for TensorFlow see
`tensorflow.py`.
"""
import re
from collections.abc import Callable
from dataclasses import dataclass

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
PLACES = [f'blocks.{group}.{index}' for group, rows in enumerate(arch.ghostnet().groups) for index in range(len(rows))]
KERNELS = dict(zip(PLACES, (row.kernel for row in arch.BOTTLENECKS)))
NORM = r'(weight|bias|running_mean|running_var|num_batches_tracked)'
# The parts of a layer in Paddle and TensorFlow, and what PyTorch calls them.
PARTS = (('._mean', '.running_mean'), ('._variance', '.running_var'), ('/gamma', '/weight'), ('/beta', '/bias'),
         ('/mean/EMA', '/running_mean'), ('/variance/EMA', '/running_var'))
FOLDED = 'it is folded for inference, so its batch norms and branches are gone'
FEATURES_ONLY = 'it is cut for other outputs, and its layers have other names'

Rules = tuple[tuple[str, str], ...]


def _layers(weight: str, norm: str, layers: dict[str, tuple[str, str]]) -> Rules:
    """Return rules for layers that are a convolution and its batch norm.

    Args:
        weight, norm: patterns of what follows the name of a layer: of its weight, and of the parts of its batch norm.
        layers: pattern of a layer: official names of its convolution and of its batch norm.
    """
    return tuple(rule for layer, (conv, bn) in layers.items() for rule in (
        (layer + weight, f'{conv}.weight'), (layer + norm + NORM, rf'{bn}.\{re.compile(layer).groups + 1}')))


# The head of a classifier trained with mmpretrain.
HEAD: Rules = ((r'head\.layers\.0\.fc\.(.*)', r'conv_head.\1'), (r'head\.layers\.1\.fc\.(.*)', r'classifier.\1'))
D_LI14: Rules = (
    (r'features\.0\.0\.weight', 'conv_stem.weight'), (rf'features\.0\.1\.{NORM}', r'bn1.\1'),
    (r'features\.(\d+)\.conv\.0\.(.*)', r'@\1.ghost1.\2'), (r'features\.(\d+)\.conv\.3\.(.*)', r'@\1.ghost2.\2'),
    (r'features\.(\d+)\.conv\.1\.0\.weight', r'@\1.conv_dw.weight'),
    (rf'features\.(\d+)\.conv\.1\.1\.{NORM}', r'@\1.bn_dw.\2'),
    (r'features\.(\d+)\.conv\.2\.fc\.0\.(.*)', r'@\1.se.conv_reduce.\2'),
    (r'features\.(\d+)\.conv\.2\.fc\.2\.(.*)', r'@\1.se.conv_expand.\2'),
    (r'features\.(\d+)\.shortcut\.0\.([01])\.(.*)', r'@\1.shortcut.\2.\3'),
    (r'features\.(\d+)\.shortcut\.1\.weight', r'@\1.shortcut.2.weight'),
    (rf'features\.(\d+)\.shortcut\.2\.{NORM}', r'@\1.shortcut.3.\2'),
    (r'squeeze\.0\.weight', 'blocks.9.0.conv.weight'), (rf'squeeze\.1\.{NORM}', r'blocks.9.0.bn1.\1'),
    (r'classifier\.0\.weight', 'head.weight'), (rf'classifier\.1\.{NORM}', r'head.norm.\1'),
    (r'classifier\.4\.(.*)', r'classifier.\1'))
BLOCK = r'_ghostbottleneck_(\d+)\.'
PADDLE = _layers(r'\._conv\.weight', r'\._batch_norm\.', {
    'conv1': ('conv_stem', 'bn1'),
    rf'{BLOCK}ghost_module_([12])\.(\w+)': (r'@\1.ghost\2.\3.0', r'@\1.ghost\2.\3.1'),
    f'{BLOCK}depthwise_conv': (r'@\1.conv_dw', r'@\1.bn_dw'),
    f'{BLOCK}shortcut_depthwise': (r'@\1.shortcut.0', r'@\1.shortcut.1'),
    f'{BLOCK}shortcut_conv': (r'@\1.shortcut.2', r'@\1.shortcut.3'),
    'conv_last': ('blocks.9.0.conv', 'blocks.9.0.bn1'), 'fc_0': ('head', 'head.norm')}) + (
        (rf'{BLOCK}se_block\.squeeze\.(.*)', r'@\1.se.conv_reduce.\2'),
        (rf'{BLOCK}se_block\.excitation\.(.*)', r'@\1.se.conv_expand.\2'), (r'fc_1\.(.*)', r'classifier.\1'))
CONV = r'MobileNetV2/Conv2d_(\d+)_'
# A batch norm is named `bn`; after a depthwise convolution without ReLU it is named `output`.
TENSORFLOW = _layers('/D?W', '/(?:bn|output)/', {
    'MobileNetV2/Conv2d_0': ('conv_stem', 'bn1'),
    f'{CONV}up_pointwise/conv1': (r'@\1.ghost1.primary_conv.0', r'@\1.ghost1.primary_conv.1'),
    f'{CONV}up_pointwise/dw1': (r'@\1.ghost1.cheap_operation.0', r'@\1.ghost1.cheap_operation.1'),
    f'{CONV}down_pointwise/conv1': (r'@\1.ghost2.primary_conv.0', r'@\1.ghost2.primary_conv.1'),
    f'{CONV}down_pointwise/dw1': (r'@\1.ghost2.cheap_operation.0', r'@\1.ghost2.cheap_operation.1'),
    f'{CONV}depthwise': (r'@\1.conv_dw', r'@\1.bn_dw'),
    f'{CONV}shortcut_dw': (r'@\1.shortcut.0', r'@\1.shortcut.1'),
    f'{CONV}shortcut_1x1': (r'@\1.shortcut.2', r'@\1.shortcut.3'),
    'MobileNetV2/Conv2d_17': ('blocks.9.0.conv', 'blocks.9.0.bn1'),
    'MobileNetV2/Conv2d_18': ('head', 'head.norm')}) + tuple(
        (f'{theirs}/{letter}', f'{own}.{part}') for letter, part in (('W', 'weight'), ('b', 'bias'))
        for theirs, own in ((f'{CONV}se/fc1', r'@\1.se.conv_reduce'), (f'{CONV}se/fc2', r'@\1.se.conv_expand'),
                            ('MobileNetV2/Logits/Conv2d_1c_1x1', 'classifier')))


@dataclass(frozen=True)
class Layout:
    """How one source names its tensors."""

    label: str
    mark: str  # a pattern that matches keys of this layout, and of no layout after it
    network: str = 'GhostNet'  # key in NETWORKS of the backbone that has these weights
    rules: Rules = ()  # (pattern of a key, official name); the first match counts
    first_bottleneck: int = 0
    linear_se: bool = False  # squeeze-and-excitation: Linear layers, a quarter as wide, gate clip(x, 0, 1)
    transposed: bool = False  # Linear weights are stored as (in, out)
    shortcut_relu: bool = False  # shortcuts have a ReLU and 3x3 kernels
    padding: str = 'torch'  # of strided convolutions, as in GhostNet
    prepare: Callable[[State], State] | None = None  # used before `rules`
    rename: Callable[[State], State] | None = None  # replaces `rules` for networks that are not of GhostNet's family
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
    'GhostNetV3': Layout('GhostNetV3 (huawei-noah, timm)', r'_rpr_', 'GhostNetV3', (
        (rf'(.+_rpr_(?:conv\.\d+|scale))\.bn\.{NORM}', r'\1.bn1.\2'), *HEAD)),
    'GhostNetV2': Layout('GhostNetV2 (huawei-noah, timm)', r'\.short_conv\.', 'GhostNetV2', HEAD),
    'RepGhostNet': Layout('RepGhostNet (ChengpengChen, timm)', r'^blocks\..+\.fusion_bn\.', 'RepGhostNet', HEAD),
    'features_only': Layout('timm features_only', r'^blocks_\d+\.', refused=FEATURES_ONLY),
    'official': Layout('official (huawei-noah, timm)', r'^(conv_stem\.|blocks\.\d+\.\d+\.ghost[12]\.)', rules=HEAD),
    'd-li14': Layout('d-li14', r'^features\.\d+\.conv\.0\.primary_conv', rules=D_LI14, first_bottleneck=1,
                     linear_se=True, shortcut_relu=True),
    'paddle': Layout('PaddleClas', r'^_ghostbottleneck_\d+\.', rules=PADDLE, linear_se=True, transposed=True),
    'tensorflow': Layout('TensorFlow (huawei-noah)', r'^MobileNetV2/Conv2d_\d+_(up|down)_pointwise/', rules=TENSORFLOW,
                         first_bottleneck=1, linear_se=True, padding='tensorflow', prepare=to_torch_axes),
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
        average = False  # mmengine's EMAHook swaps them: the model's place holds the average
    found = content
    wanted: tuple[str, ...] = AVERAGES if average else WRAPPERS
    while isinstance(found, dict) and (key := next((key for key in wanted if is_filled(found, key)), None)):
        found, wanted = found[key], (*wanted, *WRAPPERS)
    if average and found is content:
        raise UserError(f'{name} has no moving average of the weights: expected one of the keys {", ".join(AVERAGES)}')
    tensors = found.items() if isinstance(found, dict) else ()
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
    for place in PLACES:
        if layout.linear_se:
            _convert_se(renamed, f'{place}.se', name)
        shortcut = f'{place}.shortcut.0.weight'
        if shortcut in renamed:  # a 3x3 kernel becomes 5x5 with zeros around it
            margin = (KERNELS[place] - renamed[shortcut].shape[-1]) // 2
            renamed[shortcut] = pad(renamed[shortcut], [margin] * 4)
    if 'head.weight' in renamed:
        _fold_head(renamed)
    if 'conv_head.weight' in renamed and renamed['conv_head.weight'].dim() == 2:  # mmpretrain has a linear layer here
        renamed['conv_head.weight'] = renamed['conv_head.weight'][..., None, None]
    return renamed


def _official_name(name: str, layout: Layout) -> str:
    for part, own in PARTS:
        name = name.removesuffix(part) + own if name.endswith(part) else name
    for pattern, replacement in layout.rules:
        match = re.fullmatch(pattern, name)
        if match:
            number, dot, rest = match.expand(replacement).partition('.')
            if number[0] != '@':
                return number + dot + rest
            position = int(number[1:]) - layout.first_bottleneck
            return PLACES[position] + dot + rest if 0 <= position < len(PLACES) else name
    return name


def _convert_se(state: State, place: str, name: str) -> None:
    """Convert linear layers to 1x1 convolutions, by clip(x, 0, 1) = relu6((6x - 3) + 3) / 6. Zeros fill missing units.

    If one of them is missing, or is not linear, nothing is converted, and the comparison with a network reports it.
    """
    keys = [f'{place}.{layer}.{part}' for part in ('weight', 'bias') for layer in ('conv_reduce', 'conv_expand')]
    if [state[key].dim() for key in keys if key in state] != [2, 2, 1, 1]:
        return
    reduce, expand, reduce_bias, expand_bias = (state[key] for key in keys)
    missing = arch.torch_rounding(reduce.shape[1] / 4) - reduce.shape[0]
    if missing < 0:
        raise UserError(f'{name}: {place} has {reduce.shape[0]} units, {-missing} more than GhostNet of this width. An '
                        'exact conversion is not possible. Use a file of another width')
    state |= zip(keys, (pad(reduce, [0, 0, 0, missing])[..., None, None], pad(6 * expand, [0, missing])[..., None, None],
                        pad(reduce_bias, [0, missing]), 6 * expand_bias - 3))


def _fold_head(state: State) -> None:
    """Merge the linear layer and the batch norm of the head into one convolution with bias, as in the authors' network."""
    weight = state.pop('head.weight').flatten(1)
    norm = {part: state.pop(f'head.norm.{part}', None) for part in ('weight', 'bias', 'running_mean', 'running_var')}
    state.pop('head.norm.num_batches_tracked', None)
    if any(part is None for part in norm.values()):
        return
    scale = norm['weight'] / torch.sqrt(norm['running_var'] + 1e-5)
    state['conv_head.weight'] = (weight * scale[:, None])[..., None, None]
    state['conv_head.bias'] = norm['bias'] - norm['running_mean'] * scale
