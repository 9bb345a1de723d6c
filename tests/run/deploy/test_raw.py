"""Raw files: the network alone as ONNX, for compilers of chips; boxes decoded here."""
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession

from ghostdet.cli import door
from ghostdet.deploy.convert import RAW_IR, RAW_OPSET, to_raw_onnx
from ghostdet.deploy.exporter import manifest_of
from ghostdet.deploy.program import UnsupportedError, program_of
from ghostdet.errors import UserError
from ghostdet.infer.decoding import Decoder
from ghostdet.infer.detector import Detector
from ghostdet.infer.exported import ExportedDetector, prepare
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.seal import UNSEALED
from ghostdet.infer.self_check import run_check
from ghostdet.infer.sessions import normalized, open_session
from tests.conftest import MINI, referenced, run_tool, tool
from tests.real_images import twenty
from tests.run.deploy.test_program import NAMES, OTHERS, Tail, assert_only_near_ties, detector

# What compilers of chips take: no control flow, no sorting, and no reading at computed places.
SIMPLE = {'Add', 'AveragePool', 'Clip', 'Concat', 'Conv', 'Div', 'GlobalAveragePool', 'HardSigmoid', 'HardSwish',
          'InstanceNormalization',
          'LeakyRelu', 'MaxPool', 'Mul', 'ReduceMean', 'Relu', 'Reshape', 'Resize', 'Sigmoid', 'Slice', 'Softplus',
          'Split', 'Tanh', 'Transpose'}


def written(trained, folder, shape=(128, 160)):
    program = program_of(trained.model)
    manifest = replace(manifest_of(trained, shape, 'a config', fixed=True), classes=NAMES)
    to_raw_onnx(program, referenced(program, manifest), folder / 'd.onnx')
    return folder / 'd.onnx'


@pytest.fixture(scope='module')
def raw(trained, shapes, tmp_path_factory):
    """What `ghostdet export --raw` writes."""
    file = tmp_path_factory.mktemp('raw') / 'd.onnx'
    words = [trained / 'epoch_2.pth', '--raw', '--out', file, '--images', shapes / 'val2017']
    assert door.run(tool('export'), list(map(str, words))) == 0
    return file


@pytest.mark.nightly
@pytest.mark.parametrize('kind', [*OTHERS, 'retinanet'])
def test_files_find_what_the_checkpoint_finds(kind, tmp_path):
    trained = detector(kind)
    file = written(trained, tmp_path)
    session = open_session(file)
    assert session.manifest.classes == NAMES
    images = [prepare(photo, session.manifest) for photo in twenty()[:4]]
    assert_only_near_ties(Tail(trained, program_of(trained.model)), images,
                          [session.run(image.canvas, image.size) for image in images])
    assert run_check(session, 'fp32').passes
    model = onnx.load(file)
    assert {node.op_type for node in model.graph.node} <= SIMPLE
    assert (model.ir_version, [(one.domain, one.version) for one in model.opset_import]) == (RAW_IR, [('', RAW_OPSET)])
    assert not any(side.dim_param for value in (*model.graph.input, *model.graph.output)
                   for side in value.type.tensor_type.shape.dim)


def test_the_description_is_enough_to_find_boxes(raw, shapes):
    """With ONNX Runtime and the .json alone."""
    described = json.loads(raw.with_suffix('.json').read_text())
    manifest = Manifest.from_json(json.dumps(described), 'd.json')
    session = open_session(raw)
    assert described['checksum'] == session.manifest.checksum != UNSEALED
    assert described['classes'] == ['disc', 'square', 'triangle']
    names = [one['name'] for one in described['outputs']]
    assert names == [f'{kind}_{stride}' for kind in ('scores', 'boxes') for stride in (8, 16, 32)]
    image = prepare(next((shapes / 'val2017').iterdir()).read_bytes(), manifest)
    x = normalized(image.canvas, image.size, manifest)[None]
    assert list(x.shape) == described['input']['shape']
    maps = InferenceSession(raw, providers=['CPUExecutionProvider']).run(names, {described['input']['name']: x})
    assert [list(part.shape) for part in maps] == [one['shape'] for one in described['outputs']]
    found = Decoder(**described['decoder']).boxes([part[0] for part in maps], image.size.tolist())
    for one, expected in zip(found, session.run(image.canvas, image.size), strict=True):
        np.testing.assert_array_equal(one, expected)
    assert len(found[0])


def test_commands_and_detector_run_it(raw, shapes, tmp_path):
    assert len(Detector(raw)(next((shapes / 'val2017').iterdir()), threshold=0))
    assert door.run(tool('check'), [str(raw)]) == 0
    assert run_tool('test', MINI, raw, '--work-dir', tmp_path, '--data-root', shapes, short=[]) == 0


def test_a_changed_file_is_noticed(raw, tmp_path):
    (tmp_path / 'd.onnx').write_bytes(raw.read_bytes() + b'\0')
    with pytest.raises(UserError, match='not as it was exported'):
        ExportedDetector(tmp_path / 'd.onnx')
    (tmp_path / 'd.onnx').write_bytes(raw.read_bytes().replace(b'"overlap"', b'"oberlap"'))
    with pytest.raises(UserError, match=r'd\.onnx does not say how to find boxes'):
        open_session(tmp_path / 'd.onnx')


def test_files_hold_no_paths_of_the_machine(raw, exported):
    for file in (raw, exported / 'detector.onnx'):
        assert b'site-packages' not in file.read_bytes()


def test_two_stages_are_refused(tmp_path):
    with pytest.raises(UnsupportedError, match='only one-stage detectors'):
        written(detector('faster-rcnn'), tmp_path)


@pytest.mark.parametrize(('more', 'message'), [(['--out', 'd.xml'], '--raw works only with --format onnx'),
                                               (['--out', 'd.onnx', '--batch', '2'], '--raw take one image')])
def test_options_that_do_not_fit(more, message, capsys):
    assert door.run(tool('export'), ['a.pth', '--raw', *more]) == 1
    assert message in capsys.readouterr().err
