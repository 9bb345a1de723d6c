"""Catalogue of published weights: backbones trained on ImageNet, and detectors. `ghostdet://` takes these names."""
from dataclasses import dataclass
from typing import Any

HUAWEI = 'https://github.com/huawei-noah/CV-backbones'
SUCCESSORS = 'https://github.com/huawei-noah/Efficient-AI-Backbones'
REPGHOST = 'https://github.com/ChengpengChen/RepGhost'
NANODET = 'https://github.com/RangiLyu/nanodet'
OPENMMLAB = 'https://github.com/open-mmlab/mmdetection'
DLI14 = 'https://github.com/d-li14/ghostnet.pytorch'
PADDLE = 'https://paddle-imagenet-models-name.bj.bcebos.com/dygraph'
# What the data sets say of their use.
TERMS = {
    'ImageNet': 'for non-commercial research and education, https://www.image-net.org/download.php',
    'COCO': 'annotations CC BY 4.0, images under the terms of use of Flickr, https://cocodataset.org/#termsofuse'}
DECIDE = 'Whether the terms of the data hold for weights that were trained on it is for you to decide.'


@dataclass(frozen=True)
class Published:
    """One published file of a backbone, trained on ImageNet.

    `sha256` (all digits or only the first) is None if nobody has published it.
    """

    width: float
    file: str  # name in the cache
    url: str
    layout: str  # a key of layouts.LAYOUTS
    top1: float  # per cent on the ImageNet validation set, as published
    licence: str  # of the code in `source`
    source: str
    sha256: str | None = None
    average: bool = False  # `top1` is that of the moving average, which the name loads where the file has it
    weights_licence: str | None = None  # None: none is stated for the weights themselves
    data: tuple[str, ...] = ('ImageNet-1k',)  # that the weights were trained on

    def facts(self) -> list[str]:
        """Return what the catalogue says of the network."""
        return [f'width {self.width}', f'top-1 {self.top1:.2f}', f'layout {self.layout}', *_licences(self), self.source,
                *(['moving average'] if self.average else [])]


@dataclass(frozen=True)
class PublishedDetector:
    """One published file of a whole detector; `sha256` as in `Published`."""

    config: str  # name of the config that it fits
    file: str  # name in the cache
    url: str
    ap: float  # on COCO's val2017, from 0 to 1, as published
    layout: str  # nanodet: PyTorch Lightning's file of RangiLyu/nanodet; mmdet: a file of mmdet 2.x or 3.x
    licence: str  # as in `Published`, and so are the others
    source: str
    sha256: str | None = None
    weights_licence: str | None = None
    data: tuple[str, ...] = ('COCO 2017', 'ImageNet-1k')  # the backbone was trained on the second one

    def facts(self) -> list[str]:
        """Return what the catalogue says of the detector."""
        return [f'a detector, COCO AP {self.ap:.3f}', f'config {self.config}', *_licences(self), self.source,
                'moving average']


def to_text() -> str:
    """Return the catalogue as text: two lines for each file, then the terms of the training data."""
    blocks = []
    published: dict[str, Published | PublishedDetector] = {**CATALOGUE, **DETECTORS}
    for name, entry in published.items():
        blocks.append(f'ghostdet://{name}: {", ".join(entry.facts())}\n    {entry.url} '
                      f'(saved as {entry.file}; sha256 {entry.sha256 or "not published"})')
    terms = [f'{name}: {text}' for name, text in TERMS.items()]
    return '\n'.join([*blocks, '', *terms, DECIDE])


def _licences(entry: Published | PublishedDetector) -> list[str]:
    """Return what is known of an entry's licences and data."""
    weights = f'weights {entry.weights_licence}' if entry.weights_licence else 'weights: no separate licence stated'
    return [f'code {entry.licence}', weights, f'trained on {" and ".join(entry.data)}']


def _file(width: float, url: str, layout: str, top1: float, source: str, licence: str = 'Apache-2.0',
          **more: Any) -> Published:
    """Return the entry of a file that has the same name in the cache as in its address."""
    return Published(width, url.rpartition('/')[2], url, layout, top1, licence, source, **more)


def _torchvision(file: str, layout: str, top1: float, width: float = 1.0) -> Published:
    return _file(width, f'https://download.pytorch.org/models/{file}', layout, top1,
                 'https://github.com/pytorch/vision', 'BSD-3-Clause', sha256=_digits(file))


def _digits(file: str) -> str:
    """Return the first digits of a file's sha256, with which torchvision and OpenMMLab end its name."""
    return file.removesuffix('.pth').rpartition('-')[2]


def _timm(width: float, name: str, layout: str, top1: float, weights_licence: str = 'Apache-2.0') -> Published:
    """Return the entry of a file of timm; the licence of the weights is that of its model card."""
    page = f'https://huggingface.co/timm/{name}.in1k'
    return Published(width, f'{name}.in1k.safetensors', f'{page}/resolve/main/model.safetensors', layout, top1,
                     'Apache-2.0', page, weights_licence=weights_licence)


def _nanodet(network: str, size: int, ap: float, sha256: str | None = None) -> PublishedDetector:
    file = f'nanodet-plus-{"m-1.5x" if network == "1.5x" else "m"}_{size}_checkpoint.ckpt'
    return PublishedDetector(f'nanodet-plus_shufflenetv2_{network}_{size}_coco', file,
                             f'{NANODET}/releases/download/v1.0.0-alpha-1/{file}', ap, 'nanodet', 'Apache-2.0', NANODET,
                             sha256)


def _mmdet(config: str, path: str, ap: float, **more: Any) -> PublishedDetector:
    file = path.rpartition('/')[2]
    return PublishedDetector(config, file, f'https://download.openmmlab.com/mmdetection/{path}', ap, 'mmdet',
                             'Apache-2.0', OPENMMLAB, _digits(file), **more)


# Name and width, name in the file's name, top-1, data.
PADDLE_FILES = (('0.5x_paddle', 0.5, '0_5', 66.8, ('ImageNet-1k',)),
                ('1.0x_paddle', 1.0, '1_0', 74.0, ('ImageNet-1k',)),
                ('1.3x_paddle', 1.3, '1_3', 75.7, ('ImageNet-1k',)),
                ('1.3x_ssld', 1.3, '1_3_ssld', 79.4, ('ImageNet-1k', 'ImageNet-22k')))
# Width, top-1, and top-1 of timm's copy.
V2_FILES = ((1.0, 75.2, 75.19), (1.3, 76.7, 76.75), (1.6, 77.8, 77.84))
# Width, name in the file's name, top-1 there, and top-1 of timm's copy.
REPGHOST_FILES = ((0.5, '0_5x_43M', 66.95, 66.98), (0.58, '0_58x_60M', 68.94, 68.94), (0.8, '0_8x_96M', 72.24, 72.24),
                  (1.0, '1_0x_142M', 74.22, 74.21), (1.11, '1_11x_170M', 75.07, 75.06),
                  (1.3, '1_3x_231M', 76.37, 76.38), (1.5, '1_5x_301M', 77.45, 77.47), (2.0, '2_0x_516M', 78.81, 78.80))

CATALOGUE = {
    'ghostnet_1.0x': _file(1.0, f'{HUAWEI}/releases/download/ghostnet_pth/ghostnet_1x.pth', 'official', 73.98, HUAWEI),
    'ghostnet_1.0x_timm': _timm(1.0, 'ghostnet_100', 'official', 73.958),
    'ghostnet_1.0x_d-li14': _file(1.0, f'{DLI14}/raw/master/pretrained/ghostnet_1x-f97d70db.pth', 'd-li14', 73.636,
                                  DLI14, 'MIT'),
    **{f'ghostnet_{name}': _file(width, f'{PADDLE}/GhostNet_x{part}_pretrained.pdparams', 'paddle', top1,
                                 'https://github.com/PaddlePaddle/PaddleClas', data=data)
       for name, width, part, top1, data in PADDLE_FILES},
    **{f'ghostnetv2_{width}x': _file(
        width, f'{SUCCESSORS}/releases/download/GhostNetV2/ck_ghostnetv2_{10 * width:.0f}.pth.tar', 'GhostNetV2', top1,
        SUCCESSORS, 'BSD-3-Clause') for width, top1, _ in V2_FILES},
    **{f'ghostnetv2_{width}x_timm': _timm(width, f'ghostnetv2_{100 * width:.0f}', 'GhostNetV2', top1)
       for width, _, top1 in V2_FILES},
    'ghostnetv3_1.0x': _file(1.0, f'{SUCCESSORS}/releases/download/GhostNetV3/ghostnetv3-1.0.pth.tar', 'GhostNetV3',
                             77.1, SUCCESSORS, 'BSD-3-Clause', average=True),
    'ghostnetv3_1.0x_timm': _timm(1.0, 'ghostnetv3_100', 'GhostNetV3', 76.94),
    **{f'repghostnet_{width}x': _file(
        width, f'{REPGHOST}/releases/download/RepGhost/repghostnet_{part}_{top1:.2f}.pth.tar', 'RepGhostNet', top1,
        REPGHOST, 'MIT', average=True) for width, part, top1, _ in REPGHOST_FILES},
    **{f'repghostnet_{width}x_timm': _timm(width, f'repghostnet_{100 * width:03.0f}', 'RepGhostNet', top1, 'MIT')
       for width, _, _, top1 in REPGHOST_FILES},
    'mobilenetv2_1.0x': _torchvision('mobilenet_v2-b0353104.pth', 'mobilenetv2', 71.878),
    'mobilenetv3_1.0x': _torchvision('mobilenet_v3_large-8738ca79.pth', 'mobilenetv3', 74.042),
    'shufflenetv2_1.0x': _torchvision('shufflenetv2_x1-5666bf0f80.pth', 'shufflenetv2', 69.362),
    'shufflenetv2_1.5x': _torchvision('shufflenetv2_x1_5-3c479a10.pth', 'shufflenetv2', 72.996, 1.5),
}
DETECTORS = {
    'nanodet-plus-m_320': _nanodet('1.0x', 320, 0.270,
                                   'f4c6080f3ef35a64c3030d559438b436462f227ce29700bca71327203e42dea2'),
    'nanodet-plus-m_416': _nanodet('1.0x', 416, 0.304),
    'nanodet-plus-m-1.5x_320': _nanodet('1.5x', 320, 0.299),
    'nanodet-plus-m-1.5x_416': _nanodet('1.5x', 416, 0.341),
    # Addresses and AP: metafile.yml of mmdet.
    'rtmdet_tiny': _mmdet('rtmdet_tiny_coco', 'v3.0/rtmdet/rtmdet_tiny_8xb32-300e_coco/'
                          'rtmdet_tiny_8xb32-300e_coco_20220902_112414-78e30dcc.pth', 0.409),
    'yolox_tiny': _mmdet('yolox_tiny_coco', 'v2.0/yolox/yolox_tiny_8x8_300e_coco/'
                         'yolox_tiny_8x8_300e_coco_20211124_171234-b4047906.pth', 0.320, data=('COCO 2017',)),
}
