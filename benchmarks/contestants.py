"""The backbones that a benchmark compares, and the ways to run them."""
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mmdet
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from ghostdet.deploy.ncnn_writer import Network
from ghostdet.deploy.program import program_of
from ghostdet.errors import UserError, reason
from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.backbones.mobilenet import TruncatedMobileNetV2, TruncatedMobileNetV3
from ghostdet.models.folding import fold_branches
from ghostdet.models.inference import optimize
from ghostdet.models.networks import named
from ghostdet.training.build import build_detector
from ghostdet.training.config_file import read_config

TORCH_MODES = ('default', 'channels_last', 'optimized', 'compiled')
RUNTIME_MODES = ('onnxruntime', 'openvino', 'openvino-int8', 'ncnn')
MODES = (*TORCH_MODES, *RUNTIME_MODES)


class TimmGhostNet(nn.Module):
    """timm's GhostNet 1.1x with the outputs of the authors' detectors. (N, 3, H, W) -> C2..C5."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from timm.models.ghostnet import _create_ghostnet
        except ImportError as error:
            raise UserError(f'timm cannot be imported ({reason(error)}): pip install timm, or choose other networks '
                            'with --networks') from error
        net = _create_ghostnet('ghostnet_100', width=1.1)
        self.stem, self.blocks = nn.Sequential(net.conv_stem, net.bn1, net.act1), net.blocks[:9]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> C2..C5."""
        x = self.stem(x)
        features = []
        for index, group in enumerate(self.blocks):
            x = group(x)
            if index in (2, 4, 6, 8):
                features.append(x)
        return tuple(features)


def _published(name: str) -> nn.Module:
    network, width = named(name)
    return network.load()(width=width)


# Networks of GhostNet's family at widths that have published weights.
PUBLISHED = ('ghostnet_1.0x', 'ghostnetv2_1.0x', 'ghostnetv3_1.0x', 'repghostnet_1.0x', 'repghostnet_1.11x')
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    'timm': TimmGhostNet,
    'ghostnet': lambda: GhostNet(width=1.1),
    'ghostnet with_cp=cheap': lambda: GhostNet(width=1.1, with_cp='cheap'),
    'ghostnet with_cp=True': lambda: GhostNet(width=1.1, with_cp=True),
    'mobilenetv2': lambda: TruncatedMobileNetV2(out_indices=(1, 2, 4, 6)),
    'mobilenetv3': lambda: TruncatedMobileNetV3(arch='large', out_indices=(3, 6, 12, 15)),
    **{name: partial(_published, name) for name in PUBLISHED},
}
PLAIN = ('timm', 'ghostnet', 'mobilenetv2', 'mobilenetv3')
COMPARED = (*PUBLISHED[:1], 'ghostnet', *PUBLISHED[1:], 'mobilenetv2', 'mobilenetv3')
# Configs of whole detectors: their networks are compared, without decoding. Those of mmdet are files in its package.
LIGHT = ('nanodet-plus_shufflenetv2_1.0x_416_coco', 'nanodet-plus_ghostnet_1.0x_416_coco',
         'nanodet-plus_repghostnet_1.11x_416_coco', 'nanodet-plus_mobilenetv3_1.0x_416_coco',
         'yolox_ghostnet_1.1x_coco',
         'retinanet_ghostnet_1.1x_coco', 'yolox_nano_8xb8-300e_coco', 'rtmdet_tiny_8xb32-300e_coco')


def config_file(config: str) -> str:
    """Return the file of one of mmdet's own configs; for all others, the name itself."""
    own = Path(mmdet.__file__).parent / '.mim/configs' / config.partition('_')[0] / f'{config}.py'
    return str(own) if own.exists() else config


def detector_network(config: str) -> nn.Module:
    """Return backbone, neck and head of a config, from normalized pixels to the head's maps, with random weights."""
    return Network(program_of(build_detector(read_config(config_file(config), {}), config)))


def deployed(network: str) -> nn.Module:
    """Return a network with random weights, in evaluation mode, with branches folded into single convolutions.

    Batch norms are still there: modes that fold them do it themselves.
    """
    model = NETWORKS[network]() if network in NETWORKS else detector_network(network)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.bias)  # exporters leave zeros out, and then int8 takes another constant for the bias
    model.eval()  # on a line of its own: eval() of mmdet's backbones returns None
    fold_branches(model)
    return model


def without_gradients(model: nn.Module, *inputs: Any, **options: Any) -> Callable[[], Any]:
    """Return a function that calls the model on the inputs, without gradients."""
    def call() -> None:
        with torch.no_grad():
            model(*inputs, **options)
    return call


def laid_out(x: Tensor, mode: str) -> Tensor:
    """Return the input in the memory layout of a mode of PyTorch."""
    return x if mode == 'default' else x.contiguous(memory_format=torch.channels_last)


def in_mode(model: nn.Module, mode: str) -> nn.Module:
    """Return the network in a mode of PyTorch; timm's network gets the optimizations that PyTorch itself offers."""
    if mode == 'default':
        return model
    if mode == 'channels_last':
        return model.to(memory_format=torch.channels_last)
    if not isinstance(model, TimmGhostNet):
        return optimize(model, compile=mode == 'compiled')
    folded = fuse(model).to(memory_format=torch.channels_last)
    return torch.compile(folded, options=dict(freezing=True)) if mode == 'compiled' else folded


def by_runtime(model: nn.Module, x: Tensor, mode: str, threads: int, file: Path) -> Callable[[], Any]:
    """Return a function that runs the network on `x` by another runtime, in one of `RUNTIME_MODES`.

    Args:
        file: the ONNX file of this network and this size of `x`; it is written if it does not exist.

    Raises:
        UserError: a package is missing.
    """
    try:
        if mode == 'ncnn':
            return _by_ncnn(model, x, threads, file)
        from ghostdet.deploy.convert import network_to_onnx
        if not file.exists():
            network_to_onnx(model, x, file)
        return (_by_onnxruntime if mode == 'onnxruntime' else _by_openvino)(file, x, mode, threads)
    except ImportError as error:
        raise UserError(f'{mode} cannot be measured ({reason(error)}): run pip install "ghostdet[export]", or choose '
                        'other --modes') from error


def _by_onnxruntime(file: Path, x: Tensor, _: str, threads: int) -> Callable[[], Any]:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = threads
    # spinning threads would slow the next contestant
    options.add_session_config_entry('session.force_spinning_stop', '1')
    session = onnxruntime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
    inputs = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, inputs)


def _by_ncnn(model: nn.Module, x: Tensor, threads: int, file: Path) -> Callable[[], Any]:
    from ghostdet.deploy.ncnn_writer import write_ncnn
    from ghostdet.infer.sessions import ncnn_network
    param = file.with_suffix('.ncnn.param')
    write_ncnn(model, x, param)
    network, pixels = ncnn_network(param, threads), x[0].numpy()
    return lambda: [maps[None] for maps in network(pixels)]


def _by_openvino(file: Path, x: Tensor, mode: str, threads: int) -> Callable[[], Any]:
    from ghostdet.deploy.convert import quantize
    from ghostdet.infer.sessions import openvino_core
    core = openvino_core()
    model = core.read_model(file)
    if mode == 'openvino-int8':
        model = quantize(model, [x.numpy()])
    settings = dict(INFERENCE_PRECISION_HINT='f32', PERFORMANCE_HINT='LATENCY', INFERENCE_NUM_THREADS=threads)
    request = core.compile_model(model, 'CPU', settings).create_infer_request()
    return lambda: request.infer([x.numpy()])
