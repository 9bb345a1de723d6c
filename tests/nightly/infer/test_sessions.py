"""Opening and closing files in a process that gets signals."""
import sys

from tests.conftest import made_by

OPEN_CLOSE_SIGNAL = '''
import gc, pathlib, signal, sys, tempfile
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.sessions import open_session
from ghostdet.deploy.convert import to_openvino
file = pathlib.Path(sys.argv[1])
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
def closed_in_the_order_of_opening():
    sessions = [open_session(file.with_suffix('.xml')) for _ in range(3)]
    while sessions:
        sessions.pop(0)
        gc.collect()
        signal.raise_signal(signal.SIGUSR1)
closed_in_the_order_of_opening()
if len(sys.argv) > 2:
    with tempfile.TemporaryDirectory() as folder:
        manifest = open_session(file.with_suffix('.xml')).manifest
        to_openvino(file.with_suffix('.onnx'), manifest, pathlib.Path(folder) / 'a.xml', [pathlib.Path(sys.argv[2])])
        gc.collect()
        signal.raise_signal(signal.SIGUSR1)
print(len(got))
'''


def test_a_signal_after_files_were_closed_is_handled(exported, shapes):
    """Ctrl-C, or the end of a child process: OpenVINO leaves a broken signal stack behind where it is started twice."""
    image = next((shapes / 'val2017').iterdir())
    assert made_by(sys.executable, '-c', OPEN_CLOSE_SIGNAL, exported / 'detector.onnx', image).split()[-1] == '4'


INT8_OF_ANY_SIZE = '''
import pathlib, sys
import numpy as np
from benchmarks.deploy_speed import untrained
from ghostdet.deploy.convert import to_onnx, to_openvino
from ghostdet.deploy.exporter import manifest_of
from ghostdet.deploy.program import program_of
from ghostdet.infer.exported import ExportedDetector
from ghostdet.infer.sessions import openvino_core
folder, image = map(pathlib.Path, sys.argv[1:])
trained = untrained('nanodet-plus_mobilenetv3_1.0x_mini')
manifest = manifest_of(trained, None, '')
to_onnx(program_of(trained.model), manifest, folder / 'a.onnx')
to_openvino(folder / 'a.onnx', manifest, folder / 'a.xml', [image])
quantized = {}
for node in openvino_core().read_model(folder / 'a.xml').get_ops():
    if node.get_type_name() == 'GroupConvolution':
        source = node.input_value(0).get_node().get_type_name()
        quantized.setdefault(node.get_input_shape(1)[-1], set()).add(source)
assert 'FakeQuantize' in quantized[3] and 'FakeQuantize' not in quantized[5], quantized
detector = ExportedDetector(folder / 'a.xml', threads=1)
for sides in ((20, 20), (128, 20), (20, 400), (64, 64), (128, 128)):
    print(len(detector.run([detector.prepare(np.zeros((*sides, 3), np.uint8))])[0]))
'''


def test_int8_takes_images_of_a_few_pixels(shapes, tmp_path):
    """On processors with AMX, OpenVINO ended the process: the layers that did it stay in floating point."""
    image = next((shapes / 'val2017').iterdir())
    found = made_by(sys.executable, '-c', INT8_OF_ANY_SIZE, tmp_path, image).splitlines()[-5:]
    assert all(int(count) > 0 for count in found)
