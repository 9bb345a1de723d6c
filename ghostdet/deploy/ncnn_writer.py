"""The network of a one-stage detector as an ncnn file. Its boxes are decoded by `ghostdet.infer.decoding`."""
import subprocess
import tempfile
import warnings
from copy import deepcopy
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import torch
from mmdet.models.backbones.csp_darknet import Focus
from mmdet.models.dense_heads import RetinaHead, YOLOV3Head, YOLOXHead
from torch import Tensor, nn

from ghostdet.deploy.program import DetectorProgram, OneStageProgram, UnsupportedError
from ghostdet.infer.decoding import Decoder
from ghostdet.infer.manifest import Manifest
from ghostdet.models.folding import fold_in_place
from ghostdet.models.heads.nanodet_plus import NanoDetPlusHead


class Network(nn.Module):
    """Backbone, neck and head without decoding: normalized pixels (1, 3, H, W) -> the maps of all levels, part by
    part.
    """

    def __init__(self, program: OneStageProgram) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = program.backbone, program.neck, program.head

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, H, W) -> maps (1, C, H_k, W_k)."""
        return tuple(level for part in self.head(self.neck(self.backbone(x))) for level in part)


def to_ncnn(program: DetectorProgram, manifest: Manifest, file: Path) -> None:
    """Write the network as `file` (.ncnn.param), .ncnn.bin, and the manifest as .ncnn.json.

    Args:
        manifest: has a canvas; its precision is 'fp32' or 'fp16', that of the weights in the file.

    Raises:
        UnsupportedError: the detector has two stages, or a layer that ncnn does not have.
    """
    decoder = decoder_of(program)
    assert manifest.canvas is not None
    write_ncnn(Network(program), torch.zeros(1, 3, *manifest.canvas), file, manifest.precision)
    file.with_suffix('.json').write_text(replace(manifest, decoder=decoder.to_dict()).to_json())


def write_ncnn(network: nn.Module, example: Tensor, file: Path, precision: str = 'fp32') -> None:
    """Write a network that takes one tensor of the size of `example` as `file` (.param) and .bin.

    Raises:
        UnsupportedError: it has a layer that ncnn does not have.
    """
    import pnnx
    network = deepcopy(network)
    without_slices(network)
    fold_in_place(network)
    weights = file.with_suffix('.bin')
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that sizes become fixed is what is wanted
        torch.jit.trace(network, example, check_trace=False).save(f'{folder}/network.pt')
        sides = ','.join(map(str, example.shape))
        command = [pnnx.EXEC_PATH, 'network.pt', f'inputshape=[{sides}]f32', f'ncnnparam={file.absolute()}',
                   f'ncnnbin={weights.absolute()}', f'fp16={int(precision == "fp16")}']
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode or not weights.exists():
        raise UnsupportedError(f'a network that pnnx cannot convert: {(done.stderr or done.stdout)[-300:]}')
    layers = {line.split()[0] for line in file.read_text().splitlines()[2:] if line}
    unknown = sorted(layer for layer in layers if '.' in layer or layer.startswith(('pnnx', 'aten')))
    if unknown:
        raise UnsupportedError(f'layers that ncnn does not have: {", ".join(unknown)}')


def decoder_of(program: DetectorProgram) -> Decoder:
    """Return how the maps of the program's head become boxes.

    Raises:
        UnsupportedError: the detector has two stages.
    """
    if not isinstance(program, OneStageProgram):
        raise UnsupportedError('two stages (only one-stage detectors can be exported without their decoding)')
    head, cfg = program.head, program.cfg
    usual: dict[str, Any] = dict(
        classes=head.num_classes, overlap=cfg.nms.iou_threshold, score_threshold=cfg.get('score_thr', 0),
        candidates=max(cfg.get('nms_pre', 0), 0), detections=max(cfg.get('max_per_img', 0), 0),
        smallest=cfg.get('min_bbox_size', -1), strides=tuple(stride[0] for stride in head.prior_generator.strides))
    if isinstance(head, (RetinaHead, YOLOV3Head)):
        anchors = tuple(tuple(map(tuple, anchors.tolist())) for anchors in head.prior_generator.base_anchors)
        if isinstance(head, YOLOV3Head):
            return Decoder('yolov3', anchors=anchors, confidence=cfg.get('conf_thr', -1), **usual)
        coder = head.bbox_coder
        return Decoder('anchors', anchors=anchors, means=tuple(coder.means), stds=tuple(coder.stds),
                       most=abs(log(16 / 1000)), **usual)
    usual |= dict(offset=head.prior_generator.offset)
    if isinstance(head, YOLOXHead):
        return Decoder('yolox', **usual)
    return Decoder('distances', bins=head.reg_max + 1 if isinstance(head, NanoDetPlusHead) else 0, **usual)


def without_slices(model: nn.Module) -> None:
    """Replace each Focus of YOLOX, which takes every second pixel, by a strided convolution."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is Focus:
                setattr(module, name, _strided(child))


def _strided(focus: Focus) -> nn.Module:
    block = deepcopy(focus.conv)
    old = block.conv
    channels, kernel = old.in_channels // 4, old.kernel_size[0]
    new = nn.Conv2d(channels, old.out_channels, 2 * kernel, 2 * old.stride[0], 2 * old.padding[0],
                    bias=old.bias is not None)
    with torch.no_grad():
        # Focus stacks the pixels of each square of 2x2 as upper left, lower left, upper right, lower right.
        for square, (row, column) in zip(old.weight.split(channels, dim=1), ((0, 0), (1, 0), (0, 1), (1, 1))):
            new.weight[:, :, row::2, column::2] = square
        if old.bias is not None:
            new.bias.copy_(old.bias)
    block.conv = new.train(old.training)
    return block
