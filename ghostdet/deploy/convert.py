"""Convert a PyTorch detector to an ONNX or OpenVINO file that runs without PyTorch."""
import contextlib
import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ghostdet.deploy.ncnn_writer import Network, decoder_of, without_slices
from ghostdet.deploy.program import DetectorProgram, OneStageProgram, UnsupportedError
from ghostdet.errors import reason
from ghostdet.images.decode import naming
from ghostdet.infer.exported import inputs, prepare
from ghostdet.infer.manifest import KEY, Manifest
from ghostdet.infer.sessions import no_telemetry, openvino_core, outputs
from ghostdet.models.folding import fold_in_place

OPSET = 20
# Of a raw file: compilers of chips take them, and some take nothing newer (docs/how-to/chips.md).
RAW_OPSET, RAW_IR = 17, 8
# Attributes of opset 18, and `allowzero` of 14. The exporter writes them with the values that 17 implies.
NEWER = ('allowzero', 'antialias', 'keep_aspect_ratio_policy', 'noop_with_empty_axes', 'num_outputs')
MAX_SIDES = 256  # maximum side of an input of variable size, in multiples of the divisor
HEAVY = ('Convolution', 'GroupConvolution', 'MatMul')  # operators that int8 makes faster


def to_onnx(program: DetectorProgram, manifest: Manifest, file: Path) -> None:
    """Write the detector as an ONNX file.

    Inputs: `image` (1, H, W, 3) uint8 and `size` (2,) int64. Outputs: `boxes`, `scores` and `labels`. With a batch of N
    images: (N, H, W, 3) and (N, 2), and one more output, `images`. If the manifest has a reference, the head's maps,
    which are no outputs, are named `map_0` and so on.
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
    names = list(outputs(manifest))
    model = _exported(_WithMaps(program) if manifest.map_names else program, example, input_names=['image', 'size'],
                      output_names=[*names, *manifest.map_names], dynamic_shapes=varying)
    del model.graph.output[len(names):]
    _save(model, manifest, file)


def _save(model: onnx.ModelProto, manifest: Manifest, file: Path) -> None:
    onnx.checker.check_model(model)
    # Metadata come first, so that a file that was cut off still says what it should be.
    metadata = onnx.ModelProto()
    metadata.metadata_props.add(key=KEY, value=manifest.to_json())
    file.write_bytes(metadata.SerializeToString() + model.SerializeToString())


def to_raw_onnx(program: DetectorProgram, manifest: Manifest, file: Path) -> None:
    """Write the network without normalization, decoding and suppression as an ONNX file, for compilers of chips.

    Input: `image` (1, 3, H, W) float32, normalized pixels. Outputs: the head's maps (1, C, H_k, W_k), named by
    what they are and their stride, such as `scores_8`.

    Args:
        manifest: has a canvas and a reference.

    Raises:
        UnsupportedError: the detector has two stages, or something that opset `RAW_OPSET` does not have.
    """
    decoder = decoder_of(program)
    assert manifest.canvas is not None
    assert isinstance(program, OneStageProgram)
    height, width = manifest.canvas
    manifest = replace(manifest, decoder=decoder.to_dict())
    network = deepcopy(Network(program))
    without_slices(network)
    model = _exported(network, (torch.zeros(1, 3, height, width),), opset=RAW_OPSET + 1, input_names=['image'],
                      output_names=manifest.map_names)
    _lower(model)
    try:
        _save(model, manifest, file)
    except onnx.checker.ValidationError as error:
        raise UnsupportedError(f'something that ONNX does not have in opset {RAW_OPSET}: {reason(error)}') from error


def _lower(model: onnx.ModelProto) -> None:
    """Change a graph of opset 18, the oldest that PyTorch writes, to `RAW_OPSET`."""
    graph = model.graph
    constants = {one.name: one for one in graph.initializer}
    for node in graph.node:
        for attribute in [one for one in node.attribute if one.name in NEWER]:
            node.attribute.remove(attribute)
        if node.op_type.startswith('Reduce') and node.op_type != 'ReduceSum' and len(node.input) == 2:
            axes = onnx.numpy_helper.to_array(constants[node.input.pop()]).tolist()
            node.attribute.append(onnx.helper.make_attribute('axes', axes))
    used = {name for node in graph.node for name in node.input}
    for name, constant in constants.items():
        if name not in used:
            graph.initializer.remove(constant)
    model.opset_import[0].version, model.ir_version = RAW_OPSET, RAW_IR


def description_of(manifest: Manifest) -> str:
    """Return what a program needs to find boxes with the outputs of a raw file, as JSON: its manifest and more."""
    assert manifest.canvas is not None
    assert manifest.reference is not None
    outputs = [dict(name=name, shape=[1, *shape])
               for name, shape in zip(manifest.map_names, manifest.reference['shapes'], strict=True)]
    taken = dict(name='image', shape=[1, 3, *manifest.canvas], layout='NCHW', dtype='float32',
                 channels='RGB' if manifest.is_rgb else 'BGR', values='(pixel - mean) / std')
    about = dict(input=taken, outputs=outputs, activation='sigmoid')  # of scores and objectness
    return json.dumps(about | json.loads(replace(manifest, reference=None).to_json()), indent=1)


class _WithMaps(nn.Module):
    """A program that also returns the maps of its head."""

    def __init__(self, program: DetectorProgram) -> None:
        super().__init__()
        self.program = program

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        maps = self.program.maps(image, size)
        return *self.program.decoded(maps, size), *(level for part in self.program.parts(maps) for level in part)


def network_to_onnx(model: nn.Module, x: Tensor, file: Path) -> None:
    """Write a network that takes one tensor, such as a backbone, as an ONNX file for inputs of the size of `x`."""
    onnx.save(_exported(model, (x,)), file)


def _exported(model: nn.Module, example: tuple[Tensor, ...], opset: int = OPSET, **options: Any) -> onnx.ModelProto:
    model = deepcopy(model)
    fold_in_place(model)  # the runtimes would do it, too; the exporter takes a third of its time for batch norms
    with _quiet(), torch.no_grad():
        exported = torch.onnx.export(model, example, dynamo=True, opset_version=opset, verbose=False, **options)
        assert exported is not None
    made = exported.model_proto  # a property, which makes a new one each time
    graph = made.graph
    for part in (*graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        part.ClearField('metadata_props')  # stack traces, with paths of this machine
    return made


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
    openvino.save_model(model, file, compress_to_fp16=False)
    describe_openvino(file, manifest)


def describe_openvino(file: Path, manifest: Manifest) -> None:
    """Put a manifest in an .xml file, in place of one that it may have."""
    tree = ElementTree.parse(file)
    root = tree.getroot()
    info = root.find('rt_info')
    info = ElementTree.SubElement(root, 'rt_info') if info is None else info
    for place in (info, *info.findall('framework')):  # OpenVINO puts the metadata of an .onnx file in the latter
        for old in place.findall(KEY):
            place.remove(old)
    ElementTree.SubElement(info, KEY, value=manifest.to_json())
    # a fifth of it is indentation
    file.write_text(re.sub(r'>\s+<', '><', ElementTree.tostring(root, encoding='unicode')), encoding='utf-8')


def quantize(model: Any, samples: Sequence[Any], read: Callable[[Any], Any] | None = None) -> Any:
    """Return an OpenVINO model with convolutions and matrix products in int8; all other operators stay in floating
    point.

    Weights use half of their range: where a processor has no instructions of VNNI, sums of two products have 16 bits,
    and would saturate. Some convolutions stay in floating point, too:

    - Those whose output is added to another map: on ARM, OpenVINO (2026.4) merges them with the addition, and that is
      wrong.
    - Depthwise ones of 5x5, which are not faster in int8. On processors with AMX, OpenVINO (2026.1 to 2026.4) ends the
      process if their map is smaller than the kernel, and its size not known before:
      https://github.com/openvinotoolkit/openvino/issues/37577.

    Args:
        samples: the data to calibrate with.
        read: returns the model's input for a sample; None: the samples are inputs.
    """
    with no_telemetry():
        import nncf
    logging.getLogger('nncf').setLevel(logging.ERROR)  # `set_log_level` also changes handlers of other programs
    light = sorted({node.get_type_name() for node in model.get_ops()} - {*HEAVY, 'Parameter', 'Constant', 'Result'})
    floats = nncf.IgnoredScope(types=light, names=sorted(_added(model) | _wide(model)), validate=False)
    return nncf.quantize(model, nncf.Dataset(samples, read), preset=nncf.QuantizationPreset.MIXED,
                         subset_size=len(samples), ignored_scope=floats,
                         advanced_parameters=nncf.AdvancedQuantizationParameters(
                             overflow_fix=nncf.OverflowFix.ENABLE))


def _added(model: Any) -> set[str]:
    """Return the names of the convolutions whose output, with its bias, is added to another map."""
    names = set()
    for node in model.get_ops():
        if node.get_type_name() == 'Add' and not _is_bias(node):
            for source in map(_source, node.inputs()):
                source = _source(source.input(0)) if source.get_type_name() == 'Add' and _is_bias(source) else source
                if source.get_type_name().endswith('Convolution'):
                    names.add(source.get_friendly_name())
    return names


def _wide(model: Any) -> set[str]:
    """Return the names of the depthwise convolutions with a kernel of more than 3x3."""
    return {node.get_friendly_name() for node in model.get_ops() if node.get_type_name() == 'GroupConvolution'
            and max(list(node.get_input_shape(1))[-2:]) > 3}


def _is_bias(node: Any) -> bool:
    """Return whether an addition adds a constant."""
    return any(source.get_type_name() == 'Constant' or
               (source.get_type_name() == 'Reshape' and _source(source.input(0)).get_type_name() == 'Constant')
               for source in map(_source, node.inputs()))


def _source(port: Any) -> Any:
    return port.get_source_output().get_node()


def _read(file: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    with naming(file):
        return inputs([prepare(file.read_bytes(), manifest)], manifest.batch)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's progress output, and its warnings about its own code."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield
