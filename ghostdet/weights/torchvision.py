"""Rename torchvision's weights for MMDetection and mmpretrain, which build the same layers in the same order."""
import re

from torch import Tensor

V2_BLOCKS = [f'layer{stage}.{index}' for stage, count in enumerate((1, 2, 3, 4, 3, 3, 1), 1) for index in range(count)]
# Names of a block's convolutions by their count: 2 without expansion, 3 with it, 5 with squeeze-and-excitation, too.
PARTS = {2: ('depthwise_conv', 'linear_conv'), 3: ('expand_conv', 'depthwise_conv', 'linear_conv'),
         5: ('expand_conv', 'depthwise_conv', 'se.conv1', 'se.conv2', 'linear_conv')}
# Of a branch of a ShuffleNetV2: number of a layer -> number and kind of mmpretrain's layer. The others are activations.
SHUFFLED = dict(branch1={0: (0, 'conv'), 1: (0, 'bn'), 2: (1, 'conv'), 3: (1, 'bn')},
                branch2={0: (0, 'conv'), 1: (0, 'bn'), 3: (1, 'conv'), 4: (1, 'bn'), 5: (2, 'conv'), 6: (2, 'bn')})


def mobilenet_v2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename MobileNetV2 tensors for mmdet; the classifier keeps its names."""
    return _renamed(state, ['conv1', *V2_BLOCKS, 'conv2'])


def mobilenet_v3_large(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename MobileNetV3-Large tensors for mmpretrain; the classifier keeps its names."""
    return _renamed(state, [f'layer{index}' for index in range(17)])


def shufflenet_v2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename ShuffleNetV2 tensors for mmpretrain; the classifier keeps its names."""
    return {_shufflenet_name(key): value for key, value in state.items()}


def _shufflenet_name(key: str) -> str:
    key = re.sub(r'^stage(\d)\.', lambda match: f'layers.{int(match[1]) - 2}.', key).replace('conv5.', 'layers.3.')
    return re.sub(r'^(conv1|layers\.3|layers\.\d\.\d+\.branch[12])\.(\d)\.', _shufflenet_layer, key)


def _shufflenet_layer(match: re.Match) -> str:
    layer, number = match[1], int(match[2])
    if not layer.endswith(('branch1', 'branch2')):
        return f'{layer}.{"bn" if number else "conv"}.'
    index, kind = SHUFFLED[layer[-7:]][number]
    return f'{layer}.{index}.{kind}.'


def _renamed(state: dict[str, Tensor], prefixes: list[str]) -> dict[str, Tensor]:
    layers: dict[int, dict[str, bool]] = {}  # number -> {module: is it a convolution}, in order
    for key, value in state.items():
        match = re.fullmatch(r'(features\.(\d+)\..+)\.weight', key)
        if match and int(match[2]) < len(prefixes):
            layers.setdefault(int(match[2]), {})[match[1]] = value.dim() == 4
    names = {}
    for number, modules in layers.items():
        parts = iter(PARTS.get(sum(modules.values()), ('',)))
        for module, is_convolution in modules.items():
            if is_convolution:
                part = '.'.join(filter(None, (prefixes[number], next(parts, 'surplus'))))
            names[module] = f'{part}.{"conv" if is_convolution else "bn"}'
    renamed = {}
    for key, value in state.items():
        module, _, kind = key.rpartition('.')
        renamed[f'{names[module]}.{kind}' if module in names else key] = value
    return renamed
