"""The layouts in which weights are published, and their exact conversion: GhostNet's to the authors' own.

Sources: huawei-noah/ghostnet `ghostnet.py` (official, also timm's), d-li14/ghostnet.pytorch `ghostnet.py`, PaddleClas
`ppcls/arch/backbone/model_zoo/ghostnet.py`.
"""
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ghostdet.errors import UserError
from ghostdet.messages import shorten
from ghostdet.models import arch
from ghostdet.weights.torchvision import mobilenet_v2, mobilenet_v3_large

State = dict[str, Tensor]
WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'params', 'module', 'shadow')
AVERAGES = ('state_dict_ema', 'model_ema', 'ema_state_dict', 'ema')
GROUPS = arch.ghostnet().groups
PLACES = [f'blocks.{group}.{index}' for group, rows in enumerate(GROUPS) for index in range(len(rows))]  # of the 16 bottlenecks
KERNELS = dict(zip(PLACES, (row.kernel for row in arch.BOTTLENECKS)))
NORM = r'(weight|bias|running_mean|running_var|num_batches_tracked)'


@dataclass(frozen=True)
class Layout:
    """How one source names its tensors."""

    label: str
    mark: str  # a pattern in the lines of its keys, and of no other layout's
    rules: tuple[tuple[str, str], ...] = ()  # patterns of its keys, and official names; the first that fits counts
    first_bottleneck: int = 0
    linear_se: bool = False  # squeeze-and-excitation of Linear layers, a quarter as wide, with the gate clip(x, 0, 1)
    transposed: bool = False  # Linear weights stored in x out
    shortcut_relu: bool = False  # a ReLU, and kernels of 3, in the shortcuts
    rename: Callable[[State], State] | None = None  # in place of rules, of another network
    refused: str = ''  # why nothing here can use it

    def fits(self, state: State) -> bool:
        """Whether tensors are named in this layout."""
        return re.search(self.mark, '\n'.join(state), re.MULTILINE) is not None


LAYOUTS = {
    # A V3 is known by its branches; where they are merged, by a V2's attention with biases in the convolutions.
    'GhostNetV3': Layout('GhostNetV3', r'_rpr_|\.primary_conv\.0\.bias$[\s\S]*\.short_conv\.',
                         refused='GhostNetV3 has re-parameterisable branches, which GhostNet has not'),
    'GhostNetV2': Layout('GhostNetV2', r'\.short_conv\.', refused='GhostNetV2 has an attention branch, which GhostNet has not'),
    'official': Layout('official (huawei-noah, timm)', r'^(conv_stem\.|blocks\.\d+\.\d+\.ghost[12]\.)', (
        (r'head\.layers\.0\.fc\.(.*)', r'conv_head.\1'), (r'head\.layers\.1\.fc\.(.*)', r'classifier.\1'))),  # mmpretrain's
    'd-li14': Layout('d-li14', r'^features\.\d+\.conv\.0\.primary_conv', (
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
        (r'classifier\.4\.(.*)', r'classifier.\1')), first_bottleneck=1, linear_se=True, shortcut_relu=True),
    'paddle': Layout('PaddleClas', r'^_ghostbottleneck_\d+\.', (
        (r'conv1\._conv\.weight', 'conv_stem.weight'), (rf'conv1\._batch_norm\.{NORM}', r'bn1.\1'),
        (r'_ghostbottleneck_(\d+)\.ghost_module_([12])\.(\w+)\._conv\.weight', r'@\1.ghost\2.\3.0.weight'),
        (rf'_ghostbottleneck_(\d+)\.ghost_module_([12])\.(\w+)\._batch_norm\.{NORM}', r'@\1.ghost\2.\3.1.\4'),
        (r'_ghostbottleneck_(\d+)\.depthwise_conv\._conv\.weight', r'@\1.conv_dw.weight'),
        (rf'_ghostbottleneck_(\d+)\.depthwise_conv\._batch_norm\.{NORM}', r'@\1.bn_dw.\2'),
        (r'_ghostbottleneck_(\d+)\.se_block\.squeeze\.(.*)', r'@\1.se.conv_reduce.\2'),
        (r'_ghostbottleneck_(\d+)\.se_block\.excitation\.(.*)', r'@\1.se.conv_expand.\2'),
        (r'_ghostbottleneck_(\d+)\.shortcut_depthwise\._conv\.weight', r'@\1.shortcut.0.weight'),
        (rf'_ghostbottleneck_(\d+)\.shortcut_depthwise\._batch_norm\.{NORM}', r'@\1.shortcut.1.\2'),
        (r'_ghostbottleneck_(\d+)\.shortcut_conv\._conv\.weight', r'@\1.shortcut.2.weight'),
        (rf'_ghostbottleneck_(\d+)\.shortcut_conv\._batch_norm\.{NORM}', r'@\1.shortcut.3.\2'),
        (r'conv_last\._conv\.weight', 'blocks.9.0.conv.weight'), (rf'conv_last\._batch_norm\.{NORM}', r'blocks.9.0.bn1.\1'),
        (r'fc_0\._conv\.weight', 'head.weight'), (rf'fc_0\._batch_norm\.{NORM}', r'head.norm.\1'),
        (r'fc_1\.(.*)', r'classifier.\1')), linear_se=True, transposed=True),
    'mobilenetv2': Layout('MobileNetV2 of torchvision', r'^features\.2\.conv\.0\.0\.', rename=mobilenet_v2),
    'mobilenetv3': Layout('MobileNetV3 of torchvision', r'^features\.2\.block\.0\.0\.', rename=mobilenet_v3_large),
}


def unwrap(content: object, name: str, average: bool = False) -> State:
    """The tensors in a file's content, freed from the containers around them.

    Args:
        average: take the exponential moving average that a training kept beside the weights.

    Raises:
        UserError: there are no tensors, or no average.
    """
    if average and isinstance(content, dict) and 'steps' in (content.get('ema_state_dict') or ()):
        average = False  # mmengine's EMAHook puts the average in the model's place, and the trained weights in its own
    found = content
    wanted: tuple[str, ...] = AVERAGES if average else WRAPPERS
    while isinstance(found, dict) and (key := next((key for key in wanted if _holds(found, key)), None)):
        found, wanted = found[key], (*wanted, *WRAPPERS)
    if average and found is content:
        raise UserError(f'{name} has no moving average of the weights (one of {", ".join(AVERAGES)})')
    tensors = found.items() if isinstance(found, dict) else ()
    # Conversions calculate, for which half precision is not enough.
    state = {str(key): value.float() if value.is_floating_point() and value.itemsize < 4 else value
             for key, value in tensors if isinstance(value, Tensor)}
    if not state:
        holds = ', '.join(map(str, list(content)[:6])) if isinstance(content, dict) else type(content).__name__
        raise UserError(f'{name} holds no tensors by name; it holds {holds}')
    return state


def _holds(content: dict, key: str) -> bool:
    return isinstance(content.get(key), dict) and bool(content[key])


def below(state: State, prefix: str | None, name: str, usual: str = '') -> State:
    """The tensors of one network: those below `prefix`, or, without one, all, freed from what wrappers put before their names.

    Args:
        usual: a prefix to take off where it is found, as a classifier of mmpretrain and a detector have it.

    Raises:
        UserError: nothing is below `prefix`.
    """
    bare = state
    for start in ('module.', '_orig_mod.', 'model.', 'module.', '_orig_mod.', *([usual] if usual and not prefix else [])):
        if any(key.startswith(start) for key in bare):  # beside them, a loss may have tensors of its own
            bare = {key.removeprefix(start): value for key, value in bare.items()}
    if not prefix:
        return bare
    start = f'{prefix.rstrip(".")}.'
    for names in (state, bare):
        if own := {key.removeprefix(start): value for key, value in names.items() if key.startswith(start)}:
            return own
    raise UserError(f'{name} has no tensors below the prefix {prefix}; its first keys are {shorten(list(state))}')


def recognise(state: State, name: str) -> str:
    """The layout of `state`, a key of LAYOUTS.

    Raises:
        UserError: it is another network's, or none that is known.
    """
    for key, layout in LAYOUTS.items():
        if layout.fits(state):
            if layout.refused:
                raise UserError(f'{name} is a {layout.label} file: {layout.refused}. Take weights of GhostNet (the first)')
            return key
    known = ', '.join(layout.label for layout in LAYOUTS.values() if not (layout.refused or layout.rename))
    raise UserError(f'{name} is in no layout of GhostNet that is known ({known}); its first keys are '
                    f'{", ".join(list(state)[:4])}')


def to_official(state: State, key: str, name: str) -> State:
    """`state`, in the layout `key`, under the official names and with their meaning. What has no such name keeps its own.

    Raises:
        UserError: no conversion of the file `name` could be exact.
    """
    layout = LAYOUTS[key]
    if layout.rename:
        return layout.rename(state)
    renamed = {_official_name(tensor, layout): value for tensor, value in state.items()}
    if layout.transposed:
        renamed = {tensor: value.T if value.dim() == 2 else value for tensor, value in renamed.items()}
    for place in PLACES:
        parts = [f'{place}.se.{layer}.{part}' for layer in ('conv_reduce', 'conv_expand') for part in ('weight', 'bias')]
        if layout.linear_se and all(part in renamed for part in parts):
            _convert_se(renamed, f'{place}.se', name)
        shortcut = f'{place}.shortcut.0.weight'
        if shortcut in renamed:  # a kernel of 3 is one of 5 with zeros around it
            margin = (KERNELS[place] - renamed[shortcut].shape[-1]) // 2
            renamed[shortcut] = pad(renamed[shortcut], [margin] * 4)
    if 'head.weight' in renamed:
        _fold_head(renamed)
    if 'conv_head.weight' in renamed and renamed['conv_head.weight'].dim() == 2:  # mmpretrain's is a linear layer
        renamed['conv_head.weight'] = renamed['conv_head.weight'][..., None, None]
    return renamed


def _official_name(name: str, layout: Layout) -> str:
    name = name.replace('._mean', '.running_mean').replace('._variance', '.running_var')
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
    """Linear layers to 1x1 convolutions; clip(x, 0, 1) = relu6((6x - 3) + 3) / 6; missing units are zero ones."""
    reduce, expand = state[f'{place}.conv_reduce.weight'], state[f'{place}.conv_expand.weight']
    missing = arch.torch_rounding(reduce.shape[1] / 4) - reduce.shape[0]
    if missing < 0:
        raise UserError(f'{name}: {place} has {reduce.shape[0]} units, {-missing} more than GhostNet of this width has there: '
                        'no conversion could be exact. Take a file of another width')
    state[f'{place}.conv_reduce.weight'] = pad(reduce, [0, 0, 0, missing])[..., None, None]
    state[f'{place}.conv_reduce.bias'] = pad(state[f'{place}.conv_reduce.bias'], [0, missing])
    state[f'{place}.conv_expand.weight'] = pad(6 * expand, [0, missing])[..., None, None]
    state[f'{place}.conv_expand.bias'] = 6 * state[f'{place}.conv_expand.bias'] - 3


def _fold_head(state: State) -> None:
    """The head's linear layer and its batch norm as the one convolution with bias that the authors have."""
    weight = state.pop('head.weight').flatten(1)
    norm = {part: state.pop(f'head.norm.{part}', None) for part in ('weight', 'bias', 'running_mean', 'running_var')}
    state.pop('head.norm.num_batches_tracked', None)
    if any(part is None for part in norm.values()):
        return
    scale = norm['weight'] / torch.sqrt(norm['running_var'] + 1e-5)
    state['conv_head.weight'] = (weight * scale[:, None])[..., None, None]
    state['conv_head.bias'] = norm['bias'] - norm['running_mean'] * scale
