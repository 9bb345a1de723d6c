"""What an exported file says of itself, and files that are none."""
import builtins
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import openvino
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv import rescale_size

from ghostdet.errors import UserError
from ghostdet.infer import sessions
from ghostdet.infer.agreement import Tolerance, compare
from ghostdet.infer.manifest import KEY, Manifest
from ghostdet.infer.sessions import open_session

PLAIN = dict(detector='RetinaNet', classes=('cat', 'dog'), canvas=None, scale=(1333, 800), keep_ratio=True, divisor=32,
             mean=(1., 2., 3.), std=(1., 1., 1.), is_rgb=True, score_threshold=0.05, precision='fp32', config='a.py',
             versions={})

sides = st.integers(1, 5000)


@given(sides, sides)
def test_images_are_resized_as_in_mmdets_pipeline(width, height):
    manifest = Manifest(**PLAIN)
    assert manifest.target(width, height) == tuple(max(1, side) for side in rescale_size((width, height), (1333, 800)))
    padded = manifest.padded(*manifest.target(width, height))
    assert all(0 <= have - need < 32 and have % 32 == 0
               for have, need in zip(padded, manifest.target(width, height)[::-1]))


@given(sides, sides)
def test_images_fit_into_a_canvas(width, height):
    manifest = Manifest(**{**PLAIN, 'canvas': (320, 512)})
    target = manifest.target(width, height)
    assert 1 <= target[0] <= 512
    assert 1 <= target[1] <= 320
    assert target[0] == 512 or target[1] == 320
    assert manifest.padded(*target) == (320, 512)


def test_images_are_stretched_where_the_config_says_so():
    assert Manifest(**{**PLAIN, 'keep_ratio': False, 'scale': (64, 32)}).target(7, 900) == (64, 32)


def test_manifest_comes_back():
    manifest = Manifest(**{**PLAIN, 'canvas': (320, 512), 'versions': {'torch': '2'}})
    assert Manifest.from_json(manifest.to_json(), 'a file') == manifest


@pytest.mark.parametrize('text', ['{}', '', '[1]', '{"classes": ["cat"]}'])
def test_other_manifests_are_refused(text):
    with pytest.raises(UserError, match=r'a\.onnx has no valid ghostdet metadata'):
        Manifest.from_json(text, 'a.onnx')


def test_file_carries_what_is_needed(exported):
    for name in ('detector.onnx', 'detector.xml'):
        manifest = open_session(exported / name).manifest
        assert manifest.classes == ('disc', 'square', 'triangle')
        assert (manifest.scale, manifest.keep_ratio, manifest.canvas) == ((128, 128), True, None)
        assert manifest.mean == pytest.approx((123.675, 116.28, 103.53))
        assert manifest.std == pytest.approx((58.395, 57.12, 57.375))
    metadata = {entry.key: entry.value for entry in onnx.load(exported / 'detector.onnx').metadata_props}
    assert replace(Manifest.from_json(metadata[KEY], ''), checksum=manifest.checksum) == manifest


def spoilt(exported, folder, what):
    for file in exported.iterdir():
        shutil.copy(file, folder)
    if what == 'cut onnx':
        (folder / 'detector.onnx').write_bytes((exported / 'detector.onnx').read_bytes()[:10000])
    elif what == 'no bin':
        (folder / 'detector.bin').unlink()
    elif what == 'cut bin':
        (folder / 'detector.bin').write_bytes((exported / 'detector.bin').read_bytes()[:1000])
    elif what == 'text xml':
        (folder / 'detector.xml').write_text('hello')
    elif what == 'foreign onnx':
        model = onnx.load(exported / 'detector.onnx')
        del model.metadata_props[:]
        onnx.save(model, folder / 'detector.onnx')


@pytest.mark.parametrize(('what', 'name', 'message'), [
    ('cut onnx', 'detector.onnx', 'cannot be opened'), ('no bin', 'detector.xml', 'put detector.bin next to it'),
    ('cut bin', 'detector.xml', 'cannot be opened'), ('text xml', 'detector.xml', 'cannot be opened'),
    ('foreign onnx', 'detector.onnx', 'has no valid ghostdet metadata'),
    ('', 'other.onnx', 'there is no exported file')])
def test_files_that_are_none(what, name, message, exported, tmp_path):
    spoilt(exported, tmp_path, what)
    with pytest.raises(UserError, match=message) as error:
        open_session(tmp_path / name)
    assert name in str(error.value)


@pytest.mark.parametrize(('name', 'module'), [('detector.onnx', 'onnxruntime'), ('detector.xml', 'openvino')])
def test_missing_runtime_is_named(name, module, exported, monkeypatch):
    real = builtins.__import__

    def hide(wanted, *others, **more):
        if wanted == module:
            raise ModuleNotFoundError(f'No module named {module!r}')
        return real(wanted, *others, **more)
    monkeypatch.setattr(builtins, '__import__', hide)
    monkeypatch.setattr(sessions, '_CORE', [])  # not the one that is there already
    with pytest.raises(UserError, match=r'pip install "ghostdet\[runtime\]"'):
        open_session(exported / name)


def test_precisions(exported):
    with pytest.raises(UserError, match='int8 is chosen when a file is exported'):
        open_session(exported / 'detector.xml', 'int8')
    with pytest.raises(UserError, match='fp32 only'):
        open_session(exported / 'detector.onnx', 'bf16')


def test_bf16_that_openvino_lists_and_cannot_compute_is_told_as_that(tmp_path, monkeypatch):
    class Core:
        def get_property(self, *_):
            return ('FP32', 'BF16')

        def read_model(self, _):
            return None

        def compile_model(self, *_, **__):
            raise RuntimeError('in a file of OpenVINO\nobject is not initialized')
    monkeypatch.setattr(sessions, 'openvino_core', Core)
    for name in ('a.xml', 'a.bin'):
        (tmp_path / name).touch()
    with pytest.raises(UserError,
                       match=r'^this processor does not support bfloat16 \(object is not initialized\): use fp32$'):
        open_session(tmp_path / 'a.xml', 'bf16')
    with pytest.raises(UserError, match='it is truncated or was changed after the export'):
        open_session(tmp_path / 'a.xml')


def detections(*rows):
    """Of rows (left, top, right, bottom, score, label)."""
    table = np.array(rows, float).reshape(-1, 6)
    return table[:, :4], table[:, 4], table[:, 5].astype(int)


@pytest.mark.parametrize(('other', 'pairs', 'alone'), [
    ([(0, 0, 9, 9, 0.9, 0), (5, 5, 8, 8, 0.5, 1)], 2, 0),
    ([(0, 0, 9, 9.5, 0.9, 0), (5, 5, 8, 8, 0.5, 1)], 1, 2),     # a side
    ([(0, 0, 9, 9, 0.9, 1), (5, 5, 8, 8, 0.5, 1)], 1, 2),       # a class
    ([(0, 0, 9, 9, 0.89, 0), (5, 5, 8, 8, 0.5, 1)], 1, 2),      # a score
    ([(0, 0, 9, 9, 0.9, 0)], 1, 1), ([], 0, 2),
    ([(0, 0, 9, 9, 0.9, 0), (0, 0, 9, 9, 0.9, 0), (5, 5, 8, 8, 0.5, 1)], 2, 1)])  # each has one partner
def test_pairs(other, pairs, alone):
    one = detections((0, 0, 9, 9, 0.9, 0), (5, 5, 8, 8, 0.5, 1))
    agreement = compare([(one, detections(*other))], Tolerance(0.1, 1, 1e-3, 0, 0))
    assert (agreement.pairs, agreement.alone, agreement.is_close) == (pairs, alone, alone == 0)

ASK_NOBODY = '''
import os, sys, time
asked = []
ASKS = 'socket.getaddrinfo', 'socket.connect'
sys.addaudithook(lambda event, arguments: asked.append(arguments) if event in ASKS else None)
from ghostdet import Detector
Detector({model!r})
time.sleep(0.5)  # messages are sent by another thread
assert not asked, asked
assert 'CI' not in os.environ
'''


def test_nobody_is_told_that_a_detector_runs(exported, tmp_path):
    """OpenVINO's packages would tell Google Analytics."""
    env = {name: value for name, value in os.environ.items() if name != 'CI'}
    code = ASK_NOBODY.format(model=str(exported / 'detector.xml'))
    result = subprocess.run([sys.executable, '-c', code], env={**env, 'HOME': str(tmp_path)}, capture_output=True,
                            text=True)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / 'intel').exists()


THREADS = '''
import os, sys
from ghostdet import Detector
before = len(os.listdir('/proc/self/task'))
Detector({model!r}, threads=1)
assert len(os.listdir('/proc/self/task')) == before, 'a thread that sends messages'
assert 'CI' not in os.environ
'''


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='counts threads in /proc')
def test_onnx_runtime_starts_no_thread_that_sends_messages(exported):
    """It would tell Microsoft, in C++, where Python's audit hooks see nothing."""
    env = {name: value for name, value in os.environ.items() if name not in ('CI', 'ORT_DISABLE_TELEMETRY')}
    result = subprocess.run([sys.executable, '-c', THREADS.format(model=str(exported / 'detector.onnx'))], env=env,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_threads_get_one_core(monkeypatch):
    cores = []

    class Slow:
        def __init__(self):
            time.sleep(0.1)
            cores.append(self)

        def get_property(self, *_):
            return ()
    monkeypatch.setattr(sessions, '_CORE', [])
    monkeypatch.setattr(openvino, 'Core', Slow)
    with ThreadPoolExecutor(4) as pool:
        opened = set(pool.map(lambda _: sessions.openvino_core(), range(4)))
    assert opened == set(cores)
    assert len(cores) == 1
