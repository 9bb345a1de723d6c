"""docs/how-to/chips.md: each converter that runs here, in an environment of its own, on twenty photographs."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from ghostdet.cli import door
from ghostdet.infer.agreement import TOLERANCES, compare
from ghostdet.infer.decoding import Decoder
from ghostdet.infer.exported import prepare
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.sessions import normalized, open_session
from tests.conftest import made_once, tool
from tests.other_environments import OPENCV, uv, without_clone
from tests.real_images import COCO128, NANODET, needs_nanodet, twenty

# Versions of Python that pyenv has, oldest first: uv does not find them behind pyenv's shims.
NEW = [str(python) for python in sorted(Path.home().glob('.pyenv/versions/3.1[2-9].*/bin/python'))]
# The Python to look for, and what uv installs.
CONVERTERS = dict(
    litert=(NEW[0] if NEW else '>=3.12', 'onnx2tf==2.6.9'),
    rknn=(sys.executable, 'rknn-toolkit2==2.5.0', 'setuptools<81', OPENCV),
    coreml=(sys.executable, 'onnxsim==0.8.1', 'coremltools==9.0'))

# Each takes d.onnx, d.json, canvases.npy (RGB pixels) and inputs.npy (normalized), and writes outputs by their names.
LITERT = '''
import shutil, subprocess, sys
from pathlib import Path
import numpy as np
shutil.copy('d.onnx', 'copy.onnx')  # onnx2tf changes its input
subprocess.run([Path(sys.executable).with_name('onnx2tf'), '-i', 'copy.onnx', '-o', 'litert'], check=True)
from ai_edge_litert.interpreter import Interpreter
network = Interpreter('litert/copy_float32.tflite')
network.allocate_tensors()
taken, = network.get_input_details()
def run(x):
    network.set_tensor(taken['index'], x.transpose(0, 2, 3, 1))
    network.invoke()
    return {one['name']: network.get_tensor(one['index']).transpose(0, 3, 1, 2) for one in network.get_output_details()}
results = [run(x) for x in np.load('inputs.npy')]
np.savez('litert.npz', **{name: np.stack([one[name] for one in results]) for name in results[0]})
'''
RKNN = '''
import json
import numpy as np
from rknn.api import RKNN
described = json.load(open('d.json'))
names = [one['name'] for one in described['outputs']]
for name, more in (('rknn', dict(do_quantization=False)), ('rknn8', dict(do_quantization=True, dataset='photos.txt'))):
    rknn = RKNN()
    rknn.config(mean_values=[described['mean']], std_values=[described['std']], target_platform='rk3588',
                quant_img_RGB2BGR=not described['is_rgb'])
    assert rknn.load_onnx(model='d.onnx') == 0
    assert rknn.build(**more) == 0
    assert rknn.export_rknn(f'{name}.rknn') == 0
    assert rknn.init_runtime() == 0  # the simulator
    pixels = np.load('canvases.npy')
    pixels = pixels if described['is_rgb'] else np.ascontiguousarray(pixels[..., ::-1])
    results = [rknn.inference(inputs=[one], data_format='nhwc') for one in pixels]
    np.savez(f'{name}.npz', **{key: np.stack(maps) for key, maps in zip(names, zip(*results), strict=True)})
    rknn.release()
'''
# Core ML runs on Apple's systems alone: what was written is compared.
COREML = '''
import json, subprocess, sys
from collections import Counter
from pathlib import Path
subprocess.run([Path(sys.executable).with_name('onnxsim'), 'd.onnx', 'simple.onnx', '--emit-coreml', 'd.mlpackage'],
               check=True)
import coremltools
description = coremltools.models.MLModel('d.mlpackage', skip_model_load=True).get_spec()
shapes = {one.name: list(one.type.multiArrayType.shape) for one in (*description.description.input,
                                                                    *description.description.output)}
block, = description.mlProgram.functions['main'].block_specializations.values()
operators = Counter(one.type for one in block.operations)
Path('coreml.json').write_text(json.dumps(dict(shapes=shapes, convolutions=operators['conv'])))
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A raw file of NanoDet-Plus-m, its description and what goes into it."""
    folder = tmp_path_factory.mktemp('raw')
    words = ['nanodet-plus_shufflenetv2_1.0x_416_coco', NANODET / 'recovered.pth', '--raw', '--out', folder / 'd.onnx',
             '--images', COCO128 / 'train2017', '--cfg-options', 'model.aux_head=None']
    assert door.run(tool('export'), list(map(str, words))) == 0
    manifest = Manifest.from_json((folder / 'd.json').read_text(), 'd.json')
    images = [prepare(photo, manifest) for photo in twenty()]
    np.save(folder / 'canvases.npy', np.stack([image.canvas for image in images]))
    np.save(folder / 'inputs.npy', np.stack([normalized(image.canvas, image.size, manifest)[None] for image in images]))
    (folder / 'photos.txt').write_text('\n'.join(map(str, sorted((COCO128 / 'train2017').iterdir()))))
    return folder


def converted(name, script, folder, tmp_path_factory):
    """Run a converter's script in the folder."""
    def make(place):
        version, *packages = CONVERTERS[name]
        uv('venv', '-q', '--python', version, place / 'venv')
        uv('pip', 'install', '-q', '--python', place / 'venv', *packages)
    try:
        place = made_once(tmp_path_factory, f'converter-{name}', make)
    except AssertionError as error:
        pytest.skip(f'{name}: {CONVERTERS[name]} cannot be installed: {error}')
    done = subprocess.run([place / 'venv/bin/python', '-c', script], cwd=folder, env=without_clone(),
                          capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def agreement(maps, folder, precision):
    """Compare boxes: of maps (images, 1, C, H_k, W_k) by their names, and of the raw file in ONNX Runtime."""
    described = json.loads((folder / 'd.json').read_text())
    decoder, session = Decoder(**described['decoder']), open_session(folder / 'd.onnx')
    pairs = []
    for index, canvas in enumerate(np.load(folder / 'canvases.npy')):
        size = np.array(canvas.shape[1:3])  # the config resizes to the whole canvas
        found = decoder.boxes([maps[one['name']][index][0] for one in described['outputs']], size.tolist())
        pairs.append((session.run(canvas, size), found))
    result = compare(pairs, TOLERANCES[precision])
    assert result.pairs > 50
    assert result.is_close, result.to_text()


@needs_nanodet
@pytest.mark.network
@pytest.mark.timeout(1800)
def test_litert(folder, tmp_path_factory):
    converted('litert', LITERT, folder, tmp_path_factory)
    agreement(np.load(folder / 'litert.npz'), folder, 'fp32')


@needs_nanodet
@pytest.mark.network
@pytest.mark.timeout(1800)
def test_rknn_in_its_simulator(folder, tmp_path_factory):
    converted('rknn', RKNN, folder, tmp_path_factory)
    agreement(np.load(folder / 'rknn.npz'), folder, 'fp16')
    agreement(np.load(folder / 'rknn8.npz'), folder, 'int8')


@needs_nanodet
@pytest.mark.network
@pytest.mark.timeout(1800)
def test_core_ml_is_written(folder, tmp_path_factory):
    converted('coreml', COREML, folder, tmp_path_factory)
    described, found = (json.loads((folder / name).read_text()) for name in ('d.json', 'coreml.json'))
    for one in (described['input'], *described['outputs']):
        assert found['shapes'][one['name']] in ([], one['shape'])  # of outputs, Core ML need not say it
    nodes = onnx.load(folder / 'd.onnx').graph.node
    assert found['convolutions'] == sum(node.op_type == 'Conv' for node in nodes)


@needs_nanodet
def test_openvinos_own_converter(folder):
    import openvino
    settings = dict(INFERENCE_PRECISION_HINT='f32')  # the default is bf16 on some processors
    network = openvino.Core().compile_model(openvino.convert_model(folder / 'd.onnx'), 'CPU', settings)
    results = [network(x) for x in np.load(folder / 'inputs.npy')]
    names = [port.any_name for port in network.outputs]
    agreement({name: np.stack([one[name] for one in results]) for name in names}, folder, 'fp32')
