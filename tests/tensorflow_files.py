"""TensorFlow checkpoints written by formulas, and the authors' TensorFlow network as plain formulas.

The index beside this file is the authors' own, without its data. The network is written from a description of their
sources: `tensorflow/ghostnet.py` and `myconv2d.py` of huawei-noah/Efficient-AI-Backbones. All in float64, channels
last.
"""
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ghostdet.weights.crc32c import crc32c
from ghostdet.weights.tensor_bundle import Entry, read_index
from tests.foreign_networks import ROWS, TAPS

INDEX = Path(__file__).parent / 'golden/ghostnet_checkpoint.index'
DATA = '.data-00000-of-00001'


# ------------------------------------------------------------------------------------------------------- the checkpoint

def value(name, shape):
    """What a tensor is filled with: a formula like noise, so that features depend on the image at every depth."""
    place = np.arange(math.prod(shape)) + zlib.crc32(name.encode()) % 10_000
    wave = 2 * (place ** 2 * 0.6180339887 % 1).reshape(shape) - 1
    if len(shape) == 4:
        depthwise = '/DW' in name or '_depthwise/' in name or '_dw/' in name
        wave = wave * (3.5 / math.prod(shape[:2] if depthwise else shape[:3])) ** 0.5
    elif name.endswith('gamma'):
        wave = wave / 5 + 1
    elif name.endswith('variance/EMA'):
        wave = wave ** 2 / 2 + 1
    else:
        wave = wave * 0.8 + 0.5 if name.endswith('fc2/b') else wave / 10
    return wave.astype('<f4')


def variables():
    """All tensors of the authors' index, by name."""
    return {name: value(name, entry.shape) for name, entry in read_index(INDEX)[1].items()}


def masked(data):
    """A checksum as TensorFlow stores it."""
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write(prefix, arrays):
    """Write the two files of a checkpoint, and return the entries of its index."""
    entries, offset = {}, 0
    with Path(f'{prefix}{DATA}').open('wb') as data:
        for name, array in sorted(arrays.items()):
            content = array.tobytes()
            entries[name] = Entry(1, array.shape, 0, offset, len(content), masked(content))
            offset += data.write(content)
    write_index(prefix, entries)
    return entries


def write_index(prefix, entries, files=1, header=b'', more=None):
    """Write an index alone. `more` holds further bytes of a tensor's description, `header` those of the whole."""
    pairs = {b'': b'\x08' + varint(files) + (header or b'\x1a\x02\x08\x01')}
    pairs |= {name.encode(): described(entry) + (more or {}).get(name, b'') for name, entry in entries.items()}
    Path(f'{prefix}.index').write_bytes(table(sorted(pairs.items())))


def table(pairs):
    """A table of LevelDB with one block of pairs."""
    content, places = b'', []
    successor = bytes([pairs[-1][0][0] + 1])  # a short key that comes after all others
    for block in (block_of(pairs), block_of([])):
        places += [varint(len(content)) + varint(len(block))]
        content += sealed(block)
    index = block_of([(successor, places[0])])
    places += [varint(len(content)) + varint(len(index))]
    return content + sealed(index) + (places[1] + places[2]).ljust(40, b'\0') + bytes.fromhex('57fb808b247547db')


def sealed(block, kind=b'\0'):
    return block + kind + masked(block + kind).to_bytes(4, 'little')


def block_of(pairs):
    """Every sixteenth key is stored whole, the others without what they share with the one before."""
    block, restarts, before = b'', [], b''
    for number, (key, content) in enumerate(pairs):
        restarts += [len(block)] if number % 16 == 0 else []
        shared = 0 if number % 16 == 0 else next(
            (place for place, (a, b) in enumerate(zip(key, before)) if a != b), min(len(key), len(before)))
        block += varint(shared) + varint(len(key) - shared) + varint(len(content)) + key[shared:] + content
        before = key
    restarts = restarts or [0]
    return block + b''.join(number.to_bytes(4, 'little') for number in (*restarts, len(restarts)))


def described(entry):
    """A BundleEntryProto."""
    sizes = [b'\x08' + varint(size) for size in entry.shape]
    shape = b''.join(b'\x12' + varint(len(size)) + size for size in sizes)
    fields = [(b'\x18', entry.file), (b'\x20', entry.offset), (b'\x28', entry.size)]
    return (b'\x08' + varint(entry.dtype) + b'\x12' + varint(len(shape)) + shape
            + b''.join(tag + varint(number) for tag, number in fields if number) + b'\x35'
            + entry.checksum.to_bytes(4, 'little'))


def varint(number):
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number // 128)


# ---------------------------------------------------------------------------------------------------------- the network

def same(size, kernel, stride):
    """Zeros before and after one side, as TensorFlow's documentation gives them."""
    needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return needed // 2, needed - needed // 2


def convolved(x, kernel, stride=1, depthwise=False):
    """(N, H, W, in) and (h, w, in, out) -> (N, ceil(H/s), ceil(W/s), out); depthwise (h, w, in, 1)."""
    sides = [(size, own) for size, own in zip(x.shape[1:3], kernel.shape[:2])]
    rows, columns = (-(-size // stride) for size, _ in sides)
    x = F.pad(x, (0, 0, *same(*sides[1], stride), *same(*sides[0], stride)))
    out = 0
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            seen = x[:, i:i + stride * (rows - 1) + 1:stride, j:j + stride * (columns - 1) + 1:stride]
            out = out + (seen * kernel[i, j, :, 0] if depthwise else seen @ kernel[i, j])
    return out


class Network:
    """The authors' network with the values of its variables."""

    def __init__(self, arrays):
        self.values = {name: torch.from_numpy(array).double() for name, array in arrays.items()}

    def conv(self, x, scope, stride=1, relu=False, depthwise=False, kernel='W'):
        """Convolution without bias, batch norm, ReLU. After a depthwise convolution without ReLU the norm is output."""
        norm = 'output' if depthwise and not relu else 'bn'
        gamma, beta, mean, variance = (self.values[f'MobileNetV2/{scope}/{norm}/{part}'] for part in (
            'gamma', 'beta', 'mean/EMA', 'variance/EMA'))
        x = convolved(x, self.values[f'MobileNetV2/{scope}/{kernel}'], stride, depthwise)
        x = (x - mean) / (variance + 1e-5).sqrt() * gamma + beta
        return x.clamp(min=0) if relu else x

    def linear(self, x, scope):
        """A 1x1 convolution with bias."""
        return convolved(x, self.values[f'MobileNetV2/{scope}/W']) + self.values[f'MobileNetV2/{scope}/b']

    def ghost(self, x, scope, relu):
        first = self.conv(x, f'{scope}/conv1', relu=relu)
        return torch.cat([first, self.conv(first, f'{scope}/dw1', relu=relu, depthwise=True, kernel='DW')], dim=3)

    def bottleneck(self, x, scope, out, attention, stride):
        shortcut = x
        if stride > 1 or x.shape[3] != out:
            shortcut = self.conv(x, f'{scope}_shortcut_dw', stride, depthwise=True)
            shortcut = self.conv(shortcut, f'{scope}_shortcut_1x1')
        x = self.ghost(x, f'{scope}_up_pointwise', relu=True)
        if stride > 1:
            x = self.conv(x, f'{scope}_depthwise', stride, depthwise=True)
        if attention:
            hidden = self.linear(x.mean((1, 2), keepdim=True), f'{scope}_se/fc1').clamp(min=0)
            x = x * self.linear(hidden, f'{scope}_se/fc2').clamp(0, 1)
        return self.ghost(x, f'{scope}_down_pointwise', relu=False) + shortcut

    def __call__(self, image):
        """BGR (N, 3, H, W), normalised -> C2..C5, the last convolution, each (N, C, h, w), and the logits (N, 1000)."""
        x, taps = self.conv(image.permute(0, 2, 3, 1), 'Conv2d_0', stride=2, relu=True), []
        for index, (_, _, out, attention, stride) in enumerate(ROWS):
            x = self.bottleneck(x, f'Conv2d_{index + 1}', out, attention, stride)
            taps += [x] if index in TAPS else []
        x = self.conv(x, 'Conv2d_17', relu=True)
        logits = self.linear(self.conv(x.mean((1, 2), keepdim=True), 'Conv2d_18', relu=True), 'Logits/Conv2d_1c_1x1')
        return [*(tap.permute(0, 3, 1, 2) for tap in (*taps, x)), logits[:, 0, 0]]
