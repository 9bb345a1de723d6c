"""Clips that play in real time, and the lines beside them."""
import json
from collections import namedtuple
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdet.errors import UserError
from ghostdet.infer import recording as module
from ghostdet.infer.detections import Detections
from ghostdet.infer.recording import RESERVE, Pace, Recording, Shown, letterboxed
from ghostdet.infer.stream import Frame
from tests.conftest import examples

NOON = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
WHITE = 255


def shown(number, clock, connection=1, size=(64, 48), colour=WHITE):
    pixels = np.full((size[1], size[0], 3), colour, np.uint8)
    found = Detections(np.array([[1, 2, 11, 22]], np.float32), np.array([0.75], np.float32), np.array([0]), ('苹果',),
                       pixels.shape[:2])
    return Shown(Frame(pixels, number, NOON, clock, clock, connection), found)


def frames(file):
    video, result = cv2.VideoCapture(str(file)), []
    while (read := video.read())[0]:
        result.append(read[1])
    return result


@examples(200)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.sampled_from([1., 10., 25., 29.97]))
def test_a_clip_lasts_as_long_as_what_it_shows(steps, rate):
    clocks, pace = 1e6 + np.cumsum(steps), Pace(rate)
    for clock in clocks.tolist():
        pace.repeats(clock, 1)
    assert pace.written == pytest.approx(rate * (clocks[-1] - clocks[0]), abs=0.51)


@given(st.integers(1, 500), st.sampled_from([1., 10., 25., 29.97, 240.]))
@examples(50)
def test_each_frame_of_a_file_is_written_once(count, rate):
    pace = Pace(rate)
    assert [pace.repeats(number / rate, 1) for number in range(count)] == [0] + [1] * (count - 1)


def test_the_time_without_a_connection_is_left_out():
    pace = Pace(10)
    assert [pace.repeats(*at) for at in [(0, 1), (1, 1), (500, 2), (501, 2)]] == [0, 10, 1, 10]


@pytest.mark.parametrize(('size', 'inside'), [((32, 24), (slice(0, 48), slice(0, 64))),
                                              ((48, 48), (slice(0, 48), slice(8, 56))),
                                              ((128, 24), (slice(18, 30), slice(0, 64)))])
def test_letterboxed(size, inside):
    result = letterboxed(np.full((size[1], size[0], 3), WHITE, np.uint8), (64, 48))
    expected = np.zeros((48, 64, 3), np.uint8)
    expected[inside] = WHITE
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(('out', 'files'), [('a.mp4', ['a.mp4', 'a.jsonl']), ('b/a.AVI', ['b/a.AVI', 'b/a.jsonl']),
                                            ('c.mkv', ['c.mkv', 'c.jsonl']),
                                            ('out', ['out/stream.mp4', 'out/stream.jsonl'])])
def test_recording(out, files, tmp_path, capsys):
    recording = Recording(tmp_path / out)
    with recording:
        recording.write(shown(0, 50), 10)
        recording.write(shown(7, 50.5, colour=0), 10)
        recording.write(shown(9, 51, size=(48, 48)), 10)
        recording.write(shown(11, 52, size=(48, 48)), 10)
    assert str(recording) == ', '.join(str(tmp_path / name) for name in files)
    assert sorted(path for path in tmp_path.rglob('*') if path.is_file()) == sorted(tmp_path / name for name in files)
    pictures = frames(tmp_path / files[0])
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 21
    np.testing.assert_allclose([picture[40, 30].mean() for picture in pictures], [255] * 5 + [0] * 5 + [255] * 11,
                               atol=9)
    np.testing.assert_allclose([picture[40, 3].mean() for picture in pictures[10:]], 0, atol=9)
    lines = [json.loads(line) for line in (tmp_path / files[1]).read_text('utf-8').splitlines()]
    assert [line['frame'] for line in lines] == [0, 7, 9, 11]
    assert [(line['width'], line['height']) for line in lines] == [(64, 48)] * 2 + [(48, 48)] * 2
    assert lines[2] == dict(time='2026-07-01T12:00:00.000+02:00', frame=9, width=48, height=48,
                            boxes=[dict(name='苹果', score=0.75, bbox=[1, 2, 10, 20])])
    assert capsys.readouterr().err.count('48x48 from here on: they are fitted into the 64x48 pixels') == 1


def test_recording_without_pictures(tmp_path):
    (tmp_path / 'a.mp4').touch()
    with Recording(tmp_path / 'a.mp4', pictures=False) as recording:
        recording.write(shown(0, 50), 10)
    assert len((tmp_path / 'a.jsonl').read_text('utf-8').splitlines()) == 1
    assert not (tmp_path / 'a.mp4').stat().st_size


@pytest.mark.parametrize('present', ['a.mp4', 'a.jsonl'])
def test_recording_overwrites_nothing(present, tmp_path):
    (tmp_path / present).write_text('mine')
    with pytest.raises(UserError, match=f'{present} exists already, and a recording cannot be made again'):
        Recording(tmp_path / 'a.mp4')


def test_recording_of_no_frames_leaves_no_file(tmp_path):
    with Recording(tmp_path / 'a.mp4'):
        assert (tmp_path / 'a.jsonl').exists()
    assert not list(tmp_path.iterdir())


def test_recording_refuses_a_format_that_it_does_not_write(tmp_path):
    with pytest.raises(UserError, match=r'a\.webm: expected a name that ends with \.mp4, \.mkv, \.avi, or a folder'):
        Recording(tmp_path / 'a.webm')


def test_a_disk_that_is_nearly_full_ends_a_recording_that_can_be_played(tmp_path, monkeypatch):
    usage, recording = namedtuple('usage', 'free'), Recording(tmp_path / 'a.mp4')
    free = iter(range(RESERVE + 5, 0, -1))
    monkeypatch.setattr(module.shutil, 'disk_usage', lambda _: usage(next(free)))

    def record():
        with recording:
            for number in range(10):
                recording.write(shown(number, number / 10), 10)
    with pytest.raises(UserError, match='less than 64 MB free'):
        record()
    assert len(frames(tmp_path / 'a.mp4')) == len((tmp_path / 'a.jsonl').read_text('utf-8').splitlines()) == 6
