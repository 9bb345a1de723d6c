"""Catalogue of published ImageNet weights: GhostNet and the networks it is compared with. `ghostdet://` takes these names."""
from dataclasses import dataclass

HUAWEI = 'https://github.com/huawei-noah/CV-backbones'
TIMM = 'https://huggingface.co/timm/ghostnet_100.in1k'
DLI14 = 'https://github.com/d-li14/ghostnet.pytorch'
PADDLE = 'https://paddle-imagenet-models-name.bj.bcebos.com/dygraph'


@dataclass(frozen=True)
class Published:
    """One published file.

    `size` (bytes) and `sha256` (all digits or only the first) are None if nobody has published them.
    """

    width: float
    file: str  # name in the cache
    url: str
    layout: str  # a key of layouts.LAYOUTS
    top1: float  # per cent on the ImageNet validation set, as published
    licence: str
    source: str
    size: int | None = None
    sha256: str | None = None


def to_text() -> str:
    """Return the catalogue as text, two lines per file."""
    blocks = []
    for name, entry in CATALOGUE.items():
        facts = [f'width {entry.width}', f'top-1 {entry.top1:.2f}', f'layout {entry.layout}', entry.licence, entry.source]
        sums = [f'{entry.size:,} bytes' if entry.size else 'size not published', f'sha256 {entry.sha256 or "not published"}']
        blocks.append(f'ghostdet://{name}: {", ".join(facts)}\n    {entry.url} ({", ".join(sums)})')
    return '\n'.join(blocks)


def _paddle(width: float, name: str, top1: float) -> Published:
    file = f'GhostNet_x{name}_pretrained.pdparams'
    return Published(width, file, f'{PADDLE}/{file}', 'paddle', top1, 'Apache-2.0', 'https://github.com/PaddlePaddle/PaddleClas')


def _torchvision(file: str, layout: str, top1: float) -> Published:
    sha256 = file.removesuffix('.pth').rpartition('-')[2]  # the first eight digits
    return Published(1.0, file, f'https://download.pytorch.org/models/{file}', layout, top1, 'BSD-3-Clause',
                     'https://github.com/pytorch/vision', sha256=sha256)


CATALOGUE = {
    'ghostnet_1.0x': Published(
        1.0, 'ghostnet_1x.pth', f'{HUAWEI}/releases/download/ghostnet_pth/ghostnet_1x.pth', 'official', 73.98, 'Apache-2.0',
        HUAWEI),
    'ghostnet_1.0x_timm': Published(
        1.0, 'ghostnet_100.in1k.safetensors', f'{TIMM}/resolve/main/model.safetensors', 'official', 73.958, 'Apache-2.0', TIMM),
    'ghostnet_1.0x_d-li14': Published(
        1.0, 'ghostnet_1x-f97d70db.pth', f'{DLI14}/raw/master/pretrained/ghostnet_1x-f97d70db.pth', 'd-li14', 73.636, 'MIT',
        DLI14),
    'ghostnet_0.5x_paddle': _paddle(0.5, '0_5', 66.8),
    'ghostnet_1.0x_paddle': _paddle(1.0, '1_0', 74.0),
    'ghostnet_1.3x_paddle': _paddle(1.3, '1_3', 75.7),
    'ghostnet_1.3x_ssld': _paddle(1.3, '1_3_ssld', 79.4),
    'mobilenetv2_1.0x': _torchvision('mobilenet_v2-b0353104.pth', 'mobilenetv2', 71.878),
    'mobilenetv3_1.0x': _torchvision('mobilenet_v3_large-8738ca79.pth', 'mobilenetv3', 74.042),
}
