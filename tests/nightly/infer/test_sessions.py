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
