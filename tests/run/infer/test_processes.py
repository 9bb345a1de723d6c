"""Detectors in other processes and threads, and the threads that a runtime starts."""
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ghostdet import Detector
from ghostdet.infer import sessions
from ghostdet.infer.self_check import picture
from ghostdet.infer.sessions import open_session

NAMES = ['detector.onnx', 'detector.xml', 'detector.ncnn.param']


def images(count):
    """Pictures that differ, RGB."""
    return [picture((96, 64 + 16 * index), [(10 * index, 200, 30), *((index * 37 % 256, part * 9, 250 - part * 8)
                                                                     for part in range(20))])
            for index in range(count)]


def assert_equal(one, other):
    assert len(one) > 0
    for name in ('boxes', 'scores', 'labels'):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def run(code, *arguments):
    """Run a program, which must end within a minute; what it printed."""
    result = subprocess.run([sys.executable, '-c', code, *map(str, arguments)], capture_output=True, text=True,
                            timeout=60)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.split()


@pytest.mark.parametrize('name', NAMES)
def test_detector_of_a_pickle_finds_the_same(name, exported):
    detector, (image,) = Detector(exported / name, threads=1), images(1)
    copy = pickle.loads(pickle.dumps(detector))
    assert (copy.model, copy.classes) == (detector.model, detector.classes)
    assert_equal(copy(image, 0), detector(image, 0))


def test_detector_keeps_its_options_in_a_pickle(exported):
    detector = Detector(exported / 'detector.onnx', 'fp32', 1, ignore_orientation=True, self_check=False, bits=12,
                        tiles=64, requests=2)
    copy = pickle.loads(pickle.dumps(detector))
    assert copy.__reduce__() == detector.__reduce__()
    assert detector.__reduce__()[1] == (str(exported / 'detector.onnx'), 'fp32', 1, None, False, True, False, 12,
                                          64, 2)
    assert (copy.engine.upright, copy.engine.bits, copy.engine.tiles.size) == (False, 12, 64)


def test_detector_finds_the_same_in_a_spawned_process(exported):
    detector, (image,) = Detector(exported / 'detector.onnx', threads=1), images(1)
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        found = pool.apply_async(detector, (image, 0)).get(timeout=120)
    assert_equal(found, detector(image, 0))


@pytest.mark.parametrize('name', NAMES)
def test_threads_that_share_a_detector_find_what_one_finds(name, exported):
    detector, pictures = Detector(exported / name), images(4) * 4
    expected = [detector(image, 0) for image in pictures[:4]]
    with ThreadPoolExecutor(8) as pool:
        for index, found in enumerate(pool.map(lambda image: detector(image, 0), pictures)):
            assert_equal(found, expected[index % 4])


FORKED = r'''
import os, sys, time
import numpy as np
from ghostdet import Detector
from ghostdet.errors import UserError
detector, image = Detector(sys.argv[1]), np.zeros((64, 64, 3), np.uint8)
detector(image)
children = []
for end in (os._exit, sys.exit):
    child = os.fork()
    if child == 0:
        try:
            detector(image)
        except UserError as error:
            os.write(1, str(error).split(',')[0].replace(' ', '_').encode() + b'\n')
            end(7)
        end(1)
    children.append(child)
deadline = time.monotonic() + 30
for child in children:
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
            sys.exit('a child hangs')
        time.sleep(0.01)
    print(os.waitstatus_to_exitcode(ended[1]))
detector(image)  # the parent goes on
'''


@pytest.mark.parametrize('name', NAMES)
def test_detector_in_a_forked_process_says_what_to_do_and_the_process_ends(name, exported):
    message = 'the_detector_was_opened_before_this_process_was_forked'
    assert sorted(run(FORKED, exported / name)) == ['7', '7', message, message]


NEW_IN_FORK = '''
import os, sys
import numpy as np
from ghostdet import Detector
child = os.fork()
if child == 0:
    Detector(sys.argv[1])(np.zeros((64, 64, 3), np.uint8))
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
'''


@pytest.mark.parametrize('name', NAMES)
def test_detector_that_is_opened_after_a_fork_runs(name, exported):
    assert run(NEW_IN_FORK, exported / name) == ['7']


# -------------------------------------------------------------------------------------------------------------- threads

@pytest.fixture
def one_core(monkeypatch):
    monkeypatch.setattr(sessions, 'usable_cores', lambda: 1)


def test_onnx_runtime_gets_the_usable_cores(exported, one_core):
    def threads(count):
        return open_session(exported / 'detector.onnx', threads=count).session.get_session_options()
    assert threads(None).intra_op_num_threads == 1
    assert threads(2).intra_op_num_threads == 2


def test_openvino_gets_the_usable_cores(exported, one_core):
    assert open_session(exported / 'detector.xml').compiled.get_property('INFERENCE_NUM_THREADS') == 1


def test_ncnn_gets_the_usable_cores(exported, one_core, monkeypatch):
    ncnn = pytest.importorskip('ncnn')
    opened = []

    class Net(ncnn.Net):
        def __init__(self):
            super().__init__()
            opened.append(self)
    monkeypatch.setattr(ncnn, 'Net', Net)
    for threads in (None, 2):
        open_session(exported / 'detector.ncnn.param', threads=threads)
    assert [net.opt.num_threads for net in opened] == [1, 2]


@pytest.mark.parametrize('name', NAMES)
def test_requests_share_the_cores_and_find_the_same(name, exported):
    """Four threads for two requests: some wait."""
    one = Detector(exported / name, threads=1)
    expected = [one(image, 0) for image in images(6)]
    detector = Detector(exported / name, threads=2, requests=2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: detector(image, 0), images(6) * 4))
    for mine, other in zip(expected * 4, found, strict=True):
        assert len(mine) > 0
        np.testing.assert_allclose(mine.scores, other.scores, atol=1e-4)
    session = detector.engine.session
    if name == 'detector.onnx':
        assert session.session.get_session_options().intra_op_num_threads == 1
    if name == 'detector.xml':
        assert session.compiled.get_property('NUM_STREAMS') == 2
        assert session.compiled.get_property('INFERENCE_NUM_THREADS') == 2


FIRST = '''
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from ghostdet.infer.sessions import open_session
session = open_session(Path(sys.argv[1]), requests=4)
tensors = [session.idle.get().get_tensor('image') for _ in range(4)]
start = time.monotonic() + 0.2
sys.setswitchinterval(1e-6)
def read(tensor):
    while time.monotonic() < start:
        pass
    return tensor.data.ndim
with ThreadPoolExecutor(4) as pool:
    print(*pool.map(read, tensors))
'''


def test_first_images_in_several_threads_do_not_wait_forever(exported):
    """Without the read in `openvino_core`, about one process in three does."""
    for _ in range(5):
        assert run(FIRST, exported / 'detector.xml') == ['4'] * 4


COUNTED = '''
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # as `taskset` does
from pathlib import Path
import numpy as np
from ghostdet import Detector
from ghostdet.infer.sessions import onnx_runtime, open_session
onnx_runtime()
def threads():
    return len(os.listdir('/proc/self/task'))
before = threads()
detector = Detector(sys.argv[1])
detector(np.zeros((64, 64, 3), np.uint8))
opened = threads()
pool = open_session(Path(sys.argv[1]), threads=2)
print(opened - before, threads() - opened)
'''


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='counts threads in /proc')
def test_process_on_one_core_gets_no_pool_of_threads(exported):
    """The second count is of two cores that are asked for: it shows that pools can be seen."""
    more, pool = map(int, run(COUNTED, exported / 'detector.onnx'))
    assert more == 0
    assert pool > 0
