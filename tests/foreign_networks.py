"""The two networks whose weights are laid out in their own way, written from the description of their sources.

d-li14/ghostnet.pytorch `ghostnet.py`: Sequentials; SE of Linear layers with the gate clamp(x, 0, 1); shortcuts with a
kernel of 3 and a ReLU. PaddleClas `model_zoo/ghostnet.py`: named layers; statistics called `_mean` and `_variance`;
Linear weights stored in x out; the same gate.
"""
import pickle

import torch
from torch import nn
from torch.nn import functional as F

# kernel, expanded, out, attention, stride
ROWS = [(3, 16, 16, 0, 1), (3, 48, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2), (5, 120, 40, 1, 1),
        (3, 240, 80, 0, 2),
        (3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 1, 1), (3, 672, 112, 1, 1),
        (5, 672, 160, 1, 2), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1)]
TAPS = (2, 4, 10, 15)  # bottlenecks after which C2..C5 come


def divisible(channels):
    nearest = max(4, int(channels + 2) // 4 * 4)
    return nearest + 4 if nearest < 0.9 * channels else nearest


# ------------------------------------------------------------------------------------------------------------- d-li14

def step(inputs, outputs, kernel, stride=1, groups=1, relu=True):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs), nn.ReLU() if relu else nn.Sequential())


class DLi14Module(nn.Module):
    def __init__(self, inputs, outputs, relu):
        super().__init__()
        self.primary_conv = step(inputs, outputs // 2, 1, relu=relu)
        self.cheap_operation = step(outputs // 2, outputs // 2, 3, groups=outputs // 2, relu=relu)

    def forward(self, x):
        first = self.primary_conv(x)
        return torch.cat([first, self.cheap_operation(first)], 1)


class DLi14Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, channels))

    def forward(self, x):
        return x * self.fc(x.mean((2, 3))).clamp(0, 1)[..., None, None]


class DLi14Bottleneck(nn.Module):
    def __init__(self, inputs, hidden, outputs, kernel, stride, attention):
        super().__init__()
        self.conv = nn.Sequential(
            DLi14Module(inputs, hidden, relu=True),
            step(hidden, hidden, kernel, stride, hidden, relu=False) if stride == 2 else nn.Sequential(),
            DLi14Attention(hidden) if attention else nn.Sequential(),
            DLi14Module(hidden, outputs, relu=False))
        self.shortcut = nn.Sequential() if stride == 1 and inputs == outputs else nn.Sequential(
            step(inputs, inputs, 3, stride, inputs), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return self.conv(x) + self.shortcut(x)


class DLi14(nn.Module):
    def __init__(self, width=1.0):
        super().__init__()
        channels = divisible(16 * width)
        layers = [step(3, channels, 3, 2)]
        for kernel, expanded, out, attention, stride in ROWS:
            hidden, outputs = divisible(expanded * width), divisible(out * width)
            layers.append(DLi14Bottleneck(channels, hidden, outputs, kernel, stride, attention))
            channels = outputs
        last = divisible(960 * width)
        self.features = nn.Sequential(*layers)
        self.squeeze = nn.Sequential(nn.Conv2d(channels, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(last, 1280, bias=False), nn.BatchNorm1d(1280), nn.ReLU(),
                                        nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x):
        """C2..C5, the last convolution, the logits."""
        taps, x = [], self.features[0](x)
        for index, block in enumerate(self.features[1:]):
            x = block(x)
            taps += [x] if index in TAPS else []
        x = self.squeeze(x)
        return [*taps, x, self.classifier(x.mean((2, 3)))]


# ------------------------------------------------------------------------------------------------------------- Paddle

class PaddleNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer('_mean', torch.zeros(channels))
        self.register_buffer('_variance', torch.ones(channels))

    def forward(self, x):
        return F.batch_norm(x, self._mean, self._variance, self.weight, self.bias, eps=1e-5)


class PaddleLayer(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, relu=False):
        super().__init__()
        self._conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        self._batch_norm, self.relu = PaddleNorm(outputs), relu

    def forward(self, x):
        x = self._batch_norm(self._conv(x))
        return F.relu(x) if self.relu else x


class PaddleLinear(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(inputs, outputs)), nn.Parameter(torch.rand(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class PaddleAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.squeeze, self.excitation = PaddleLinear(channels, channels // 4), PaddleLinear(channels // 4, channels)

    def forward(self, x):
        return x * torch.clip(self.excitation(F.relu(self.squeeze(x.mean((2, 3))))), 0, 1)[..., None, None]


class PaddleModule(nn.Module):
    def __init__(self, inputs, outputs, relu):
        super().__init__()
        self.primary_conv = PaddleLayer(inputs, outputs // 2, 1, relu=relu)
        self.cheap_operation = PaddleLayer(outputs // 2, outputs // 2, 3, groups=outputs // 2, relu=relu)

    def forward(self, x):
        first = self.primary_conv(x)
        return torch.cat([first, self.cheap_operation(first)], 1)


class PaddleBottleneck(nn.Module):
    def __init__(self, inputs, hidden, outputs, kernel, stride, attention):
        super().__init__()
        self.ghost_module_1 = PaddleModule(inputs, hidden, relu=True)
        self.depthwise_conv = PaddleLayer(hidden, hidden, kernel, stride, hidden) if stride == 2 else None
        self.se_block = PaddleAttention(hidden) if attention else None
        self.ghost_module_2 = PaddleModule(hidden, outputs, relu=False)
        self.shortcut_depthwise = self.shortcut_conv = None
        if stride != 1 or inputs != outputs:
            self.shortcut_depthwise = PaddleLayer(inputs, inputs, kernel, stride, inputs)
            self.shortcut_conv = PaddleLayer(inputs, outputs, 1)

    def forward(self, x):
        y = self.ghost_module_1(x)
        for layer in (self.depthwise_conv, self.se_block):
            y = y if layer is None else layer(y)
        return self.ghost_module_2(y) + (x if self.shortcut_conv is None
                                         else self.shortcut_conv(self.shortcut_depthwise(x)))


class Paddle(nn.Module):
    def __init__(self, width=1.0):
        super().__init__()
        channels = divisible(16 * width)
        self.conv1 = PaddleLayer(3, channels, 3, 2, relu=True)
        for index, (kernel, expanded, out, attention, stride) in enumerate(ROWS):
            hidden, outputs = divisible(expanded * width), divisible(out * width)
            self.add_module(f'_ghostbottleneck_{index}',
                            PaddleBottleneck(channels, hidden, outputs, kernel, stride, attention))
            channels = outputs
        last = divisible(960 * width)
        self.conv_last = PaddleLayer(channels, last, 1, relu=True)
        self.fc_0 = PaddleLayer(last, 1280, 1, relu=True)
        self.fc_1 = PaddleLinear(1280, 1000)

    def forward(self, x):
        """C2..C5, the last convolution, the logits."""
        taps, x = [], self.conv1(x)
        for index in range(len(ROWS)):
            x = getattr(self, f'_ghostbottleneck_{index}')(x)
            taps += [x] if index in TAPS else []
        x = self.conv_last(x)
        return [*taps, x, self.fc_1(self.fc_0(x.mean((2, 3), keepdim=True)).flatten(1))]

    def save(self, file, as_pairs):
        """A .pdparams file, with arrays as older paddles write them or as (name, array), as newer ones do."""
        arrays = {key: value.detach().numpy() for key, value in self.state_dict().items()}
        names = {key: f'param_{index}' for index, key in enumerate(arrays)}
        content = {key: (names[key], value) if as_pairs else value for key, value in arrays.items()}
        file.write_bytes(pickle.dumps({**content, 'StructuredToParameterName@@': names}, protocol=4 if as_pairs else 2))


def randomised(model, seed=0):
    """Random weights with which signals neither vanish nor explode, statistics and gates included."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            if key.endswith(('running_var', '_variance')):
                noise = noise ** 2 / 4 + 1
            elif value.dim() < 2:
                noise = noise / 10 + (0.5 if key.endswith('weight') else 0)
            else:
                noise = noise * (2 / value[0].numel()) ** 0.5
            value.copy_(noise)
    return model.eval()
