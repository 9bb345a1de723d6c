"""A camera that breaks down and comes back: what is seen, recorded and said, and that no password is."""
import json
import os
import signal
import subprocess
import sys
import time
from threading import Timer

import cv2
import numpy as np
import pytest

from ghostdet.errors import Interrupted
from ghostdet.infer import stream as module
from ghostdet.infer.recording import Recording
from ghostdet.infer.stream import PORTS, Stream
from ghostdet.infer.watching import watch
from tests.camera import Camera, SlowDetector, number_in, numbered

ENVIRONMENT = os.environ | dict(CAMERA_PASSWORD='pass-word', OPENCV_FFMPEG_DEBUG='1')
SECRETS = ('pass-word', 'to-ken')


def clip(file):
    video, frames = cv2.VideoCapture(str(file)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames, video.get(cv2.CAP_PROP_FPS)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_latest_frame_is_seen_before_and_after_a_break(tmp_path, capsys):
    """Twenty frames a second of fifty; then none for a while; then frames of other sizes, one within a connection."""
    with Camera() as camera:
        def story(count):
            if count == 15:
                camera.stop()
                Timer(0.3, comes_back).start()
            if count == 30:
                camera.size = (160, 240)

        def comes_back():
            camera.size = (240, 240)
            camera.start()
        detector = SlowDetector(0.05, story)
        summary = watch(detector, Stream(camera.address), [0.3, 0.3], Recording(tmp_path / 'a.mp4'), seconds=3.6)
    lag = [seconds - camera.sent[number] for number, seconds in detector.seen]
    assert max(lag) < 0.1 + 0.2  # two times that of the network, and what a busy machine adds
    records = lines(tmp_path / 'a.jsonl')
    assert len(records) == len(detector.seen) == summary.frames >= 33
    assert summary.boxes == dict(b=summary.frames)
    sizes = [(record['width'], record['height']) for record in records]
    assert list(dict.fromkeys(sizes)) == [(320, 240), (240, 240), (160, 240)]
    assert all(record['boxes'] == [dict(name='b', score=0.9, bbox=[10, 20, 30, 40])] for record in records)
    assert [record['frame'] for record in records] == sorted(record['frame'] for record in records)
    frames, rate = clip(tmp_path / 'a.mp4')
    gap = max(np.diff([seconds for _, seconds in detector.seen]))
    assert 0.8 < gap < 2.5
    watched = detector.seen[-1][1] - detector.seen[0][1]
    assert len(frames) / rate == pytest.approx(watched - gap, abs=0.3)
    assert number_in(frames[0]) == detector.seen[0][0]
    assert number_in(frames[-1][:, 80:240]) == detector.seen[-1][0]  # 160x240 pixels in the middle of 320x240
    said = capsys.readouterr()
    assert 'no more frames arrive; trying again in 1 s' in said.err
    assert 'connected again' in said.err
    assert not any(secret in said.out + said.err for secret in SECRETS)


def test_a_camera_that_says_nothing_is_given_up_after_some_time(capsys, monkeypatch):
    monkeypatch.setattr(module, 'TIMEOUT', 1)
    with Camera() as camera:
        detector = SlowDetector(then=lambda count: setattr(camera, 'silent', count >= 5))
        assert watch(detector, Stream(camera.address), 0.3, seconds=1.8).frames < 40
    assert 'no more frames arrive; trying again in 1 s' in capsys.readouterr().err


def test_ctrl_c_leaves_a_clip_and_the_summary(tmp_path):
    detector = SlowDetector(then=lambda count: count == 20 and signal.raise_signal(signal.SIGINT))
    with Camera() as camera, pytest.raises(Interrupted, match=r'interrupted; 19 frames, 19 boxes .*results: .*a\.avi'):
        watch(detector, Stream(camera.address), 0.3, Recording(tmp_path / 'a.avi'))
    assert len(clip(tmp_path / 'a.avi')[0]) >= 5
    assert len(lines(tmp_path / 'a.jsonl')) >= 19


def test_every_frame_of_a_growing_file_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, 'TIMEOUT', 1)
    writer = cv2.VideoWriter(str(tmp_path / 'whole.mkv'), cv2.VideoWriter.fourcc(*'MJPG'), 20, (320, 240))
    for number in range(60):
        writer.write(numbered(number))
    writer.release()
    content, grows = (tmp_path / 'whole.mkv').read_bytes(), tmp_path / 'grows.mkv'
    grows.write_bytes(content[:len(content) // 2])
    detector = SlowDetector(then=lambda count: count == 20 and grows.write_bytes(content))
    watch(detector, Stream(str(grows), follow=True), 0.3, Recording(tmp_path / 'out'))
    assert [number for number, _ in detector.seen] == list(range(60))
    frames, rate = clip(tmp_path / 'out/stream.mp4')
    assert ([number_in(frame) for frame in frames], rate) == (list(range(60)), 20)
    assert 'has not grown for 1 s' in capsys.readouterr().err


def test_the_command_ends_well_after_sigterm(exported, tmp_path):
    arguments = [sys.executable, '-m', 'ghostdet', 'predict', exported / 'detector.xml']
    with Camera() as camera:
        address = camera.address.replace('pass-word', '$CAMERA_PASSWORD')
        with subprocess.Popen([*arguments, address, '--out', 'a.mp4', '--threshold', '0.01'], cwd=tmp_path, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT) as process:
            while not (tmp_path / 'a.jsonl').exists() or len(lines(tmp_path / 'a.jsonl')) < 5:
                assert process.poll() is None, process.stdout.read()
                time.sleep(0.05)
            process.terminate()
            said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert 'interrupted; ' in said
    assert '; results: a.mp4, a.jsonl' in said
    assert clip(tmp_path / 'a.mp4')[0]
    assert not any(secret in said + (tmp_path / 'a.jsonl').read_text() for secret in SECRETS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.jsonl', 'a.mp4']


def test_no_password_is_printed_of_addresses_that_give_nothing():
    """By OpenCV and FFmpeg neither, in a process where their messages are asked for."""
    code = '''import sys
from ghostdet.infer import stream
from ghostdet.messages import show_messages
show_messages()
stream.TRIES = 1
for address in sys.argv[1:]:
    with stream.Stream(address) as opened:
        try:
            print(opened.next(20))
        except stream.UserError as error:
            print(f'error: {error}')
'''
    with Camera() as camera:
        places = [camera.address.replace('/live', '/closed'), camera.address.replace('pass-word', '$CAMERA_PASSWORD!'),
                  *[f'{kind}://me:pass-word@127.0.0.1:9/a?token=to-ken' for kind in PORTS],
                  'rtsp://me:pass-word/x@127.0.0.1/a?token=to-ken']
        result = subprocess.run([sys.executable, '-c', code, *places], capture_output=True, text=True, timeout=60,
                                env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('error: ') == len(places) == 9
    assert 'the server answers, but sends no video' in result.stdout
    assert 'Connection refused' in result.stdout
    assert not any(secret in result.stdout + result.stderr for secret in SECRETS)
