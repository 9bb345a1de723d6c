"""Convert a PyTorch detector to an ONNX or OpenVINO file that runs without PyTorch."""
import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ghostdet.deploy.program import DetectorProgram
from ghostdet.images.decode import naming
from ghostdet.infer.exported import inputs, prepare
from ghostdet.infer.manifest import KEY, Manifest
from ghostdet.infer.sessions import no_telemetry, openvino_core, outputs
from ghostdet.models.folding import fold_in_place

OPSET = 20
MAX_SIDES = 256  # maximum side of an input of variable size, in multiples of the divisor
HEAVY = ('Convolution', 'GroupConvolution', 'MatMul')  # operators that int8 makes faster


def to_onnx(program: DetectorProgram, manifest: Manifest, file: Path) -> None:
    """Write the detector as an ONNX file.

    Inputs: `image` (1, H, W, 3) uint8 and `size` (2,) int64. Outputs: `boxes`, `scores` and `labels`. With a batch of N
    images: (N, H, W, 3) and (N, 2), and one more output, `images`.
    If the manifest has no canvas, H and W can be any multiple of the divisor, up to `MAX_SIDES` times the divisor.
    """
    # For variable sizes, the example's sides differ and no feature map has a side of 1: the exporter could fix such
    # sizes.
    height, width = manifest.canvas or (8 * manifest.divisor, 12 * manifest.divisor)
    batch, size = manifest.batch, torch.tensor([height - 8, width - 8])
    example = torch.randint(256, (batch, height, width, 3),
                            dtype=torch.uint8), size if batch == 1 else size.repeat(batch, 1)
    sides = {axis: manifest.divisor * torch.export.Dim(name, min=1, max=MAX_SIDES)
             for axis, name in ((1, 'height'), (2, 'width'))}
    varying = None if manifest.canvas else dict(image=sides, size=None)
    model = _exported(program, example, input_names=['image', 'size'], output_names=list(outputs(manifest)),
                      dynamic_shapes=varying)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, manifest.to_json()
    onnx.checker.check_model(model)
    onnx.save(model, file)


def network_to_onnx(model: nn.Module, x: Tensor, file: Path) -> None:
    """Write a network that takes one tensor, such as a backbone, as an ONNX file for inputs of the size of `x`."""
    onnx.save(_exported(model, (x,)), file)


def _exported(model: nn.Module, example: tuple[Tensor, ...], **options: Any) -> onnx.ModelProto:
    model = deepcopy(model)
    fold_in_place(model)  # the runtimes would do it, too; the exporter takes a third of its time for batch norms
    with _quiet(), torch.no_grad():
        exported = torch.onnx.export(model, example, dynamo=True, opset_version=OPSET, verbose=False, **options)
        assert exported is not None
    graph = exported.model_proto.graph
    for part in (*graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        part.ClearField('metadata_props')  # stack traces, with paths of this machine
    return exported.model_proto


def to_openvino(source: Path, manifest: Manifest, file: Path, calibration: Sequence[Path] = ()) -> None:
    """Convert an ONNX file to OpenVINO's .xml and .bin.

    Args:
        calibration: image files. If there are any, convolutions and matrix products are quantized to int8.

    Raises:
        DataError: an image cannot be read.
    """
    core = openvino_core()
    import openvino  # after openvino_core, which imports it without telemetry
    model = core.read_model(source)
    if calibration:
        model = quantize(model, calibration, partial(_read, manifest=manifest))
        manifest = replace(manifest, precision='int8')
    model.set_rt_info(manifest.to_json(), [KEY])
    openvino.save_model(model, file, compress_to_fp16=False)
    # a fifth of it is indentation
    file.write_text(re.sub(r'>\s+<', '><', file.read_text(encoding='utf-8')), encoding='utf-8')


def quantize(model: Any, samples: Sequence[Any], read: Callable[[Any], Any] | None = None) -> Any:
    """Return an OpenVINO model with convolutions and matrix products in int8; all other operators stay in floating
    point.

    Args:
        samples: the data to calibrate with.
        read: returns the model's input for a sample; None: the samples are inputs.
    """
    with no_telemetry():
        import nncf
    nncf.set_log_level(logging.ERROR)
    light = sorted({node.get_type_name() for node in model.get_ops()} - {*HEAVY, 'Parameter', 'Constant', 'Result'})
    return nncf.quantize(model, nncf.Dataset(samples, read), preset=nncf.QuantizationPreset.MIXED,
                         subset_size=len(samples), ignored_scope=nncf.IgnoredScope(types=light, validate=False))


def _read(file: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    with naming(file):
        return inputs([prepare(file.read_bytes(), manifest)], manifest.batch)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's progress output, and its warnings about its own code."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield
