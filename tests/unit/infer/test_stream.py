"""Addresses, passwords, pauses between two tries, and which frames are kept."""
import os
import socket
from itertools import count, islice

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ghostdet.errors import UserError
from ghostdet.infer import stream as module
from ghostdet.infer.stream import LONGEST, OPTIONS, TRIES, Stream, is_stream, redacted
from tests.conftest import examples


class Video:
    """In place of cv2.VideoCapture: gives frames of these values, then no more."""

    def __init__(self, values, rate=10.0):
        self.values, self.rate = iter(values), rate

    def get(self, what):
        return {cv2.CAP_PROP_FPS: self.rate}.get(what, -1)

    def read(self):
        value = next(self.values, None)
        return value is not None, None if value is None else np.full((4, 6, 3), value % 256, np.uint8)

    def release(self):
        pass


def opened(stream, videos):
    """A stream whose connections are `videos`; the list of its pauses, which take no time."""
    pauses, videos = [], iter(videos)

    def wait(seconds):
        pauses.append(seconds)
        if len(pauses) == 12:
            stream._closing.set()
    stream._open = lambda: next(videos)
    stream._closing.wait = wait
    stream._trouble = lambda: 'refused'
    return pauses


@pytest.mark.parametrize(('address', 'expected'), [
    ('rtsp://me:secret@camera:554/live', 'rtsp://***@camera:554/live'),
    ('rtsp://me@camera/live', 'rtsp://***@camera/live'),
    ('RTSP:/me:secret@camera/live', 'RTSP:/***@camera/live'),
    ('http://camera/?user=me&token=secret&secret', 'http://camera/?user=***&token=***&***'),
    ('http://camera/live#secret', 'http://camera/live'),
    ('rtsp://me:se/cr?e@t#@camera/live', 'rtsp://***@camera/live'),
    ('http://camera/?mail=me@secret', 'http://***@secret'),  # more than need be, and nothing of what is before the @
    ('rtsp://camera/live', 'rtsp://camera/live'), ('photos/a@b?c=d', 'photos/a@b?c=d'), ('0', '0')])
def test_redacted(address, expected):
    assert redacted(address) == expected


@examples(300)
@given(*[st.text(st.characters(min_codepoint=33, max_codepoint=0x17f), min_size=3)] * 3)
def test_redacted_shows_no_secret(user, password, token):
    assume(not set(token) & set('@&'))
    assert redacted(f'rtsp://{user}:{password}@host/live?key={token}') == 'rtsp://***@host/live?key=***'


def test_is_stream(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CAMERA', 'rtsp://me:secret@camera/live')
    streams = ['0', '12', 'rtsp://camera/live', 'http:/camera', '$CAMERA', 'ftp://camera']
    assert [name for name in [*streams, 'photos', 'C:/photos', '-1', '1.5', '²', 'a.mp4', '$ABSENT'] if is_stream(name)
            ] == streams
    (tmp_path / '0').touch()
    assert not is_stream('0')


@pytest.mark.parametrize('address', ['ftp://me:secret@camera/a', 'rtsp:/me:secret@camera/a', 'foo://me:secret@camera'])
def test_addresses_of_other_kinds_are_refused(address):
    with pytest.raises(UserError, match='expected an address that begins with rtsp://, ') as error:
        Stream(address)
    assert 'secret' not in str(error.value)


def test_stream_is_named_as_the_user_wrote_it(monkeypatch):
    monkeypatch.setenv('PLACE', 'me:secret@camera/secret-key')
    assert Stream('rtsp://$PLACE').name == 'rtsp://$PLACE'
    assert (Stream('3').name, Stream('3').camera) == ('camera 3', True)


def test_an_address_that_never_worked_is_given_up(capsys):
    stream = Stream('rtsp://me:secret@camera/live')
    pauses = opened(stream, (Video([]) for _ in count()))
    with stream, pytest.raises(UserError, match=r'rtsp://\*\*\*@camera/live: no connection \(refused\)'):
        stream.next(10)
    assert pauses == [2 ** power for power in range(TRIES - 1)] == [1, 2, 4]
    said = capsys.readouterr().err
    assert said.count('trying again') == TRIES - 1
    assert 'secret' not in said


def test_a_stream_that_worked_is_tried_for_ever_and_a_success_resets_the_pause(capsys):
    stream = Stream('rtsp://camera/live')
    pauses = opened(stream, [Video([1]), *[Video([])] * 6, Video([2]), *[Video([])] * 9])
    with stream:
        stream._reader.join(10)
    assert stream.next(0).connection == 2
    assert stream.ended
    assert pauses == [1, 2, 4, 8, 16, LONGEST, LONGEST, 1, 2, 4, 8, 16]
    said = capsys.readouterr().err
    assert [said.count(words) for words in ('connected again', 'no more frames arrive', 'no connection')] == [1, 2, 10]


def test_a_camera_that_is_not_there_is_tried_once():
    stream = Stream('3')
    pauses = opened(stream, [Video([])])
    with stream, pytest.raises(UserError, match='camera 3: no connection'):
        stream.next(10)
    assert not pauses


def test_next_is_the_latest_frame_of_a_camera():
    stream = Stream('3')
    opened(stream, [Video(range(1000)), *[Video([])] * 11])
    with stream:
        stream._reader.join(10)
    frame = stream.next(0)
    assert (frame.number, frame.pixels[0, 0, 0], frame.clock) == (999, 999 % 256, frame.arrived)
    assert frame.time.utcoffset() is not None
    assert stream.next(0) is None


def test_next_is_every_frame_of_a_file_in_order(tmp_path, capsys):
    stream = Stream(str(tmp_path / 'grow.mkv'), follow=True)
    opened(stream, [Video(range(300))])
    with stream:
        frames = [stream.next(10) for _ in range(300)]
        assert stream.next(10) is None
    assert [frame.number for frame in frames] == list(range(300))
    assert [frame.clock for frame in frames] == [number / 10 for number in range(300)]
    assert stream.ended
    assert 'has not grown for 10 s' in capsys.readouterr().err


@pytest.mark.parametrize(('named', 'rate'), [(29.97, 29.97), (90000., 25), (0., 25), (float('nan'), 25)])
def test_rates_that_cannot_be_true_are_not_believed(named, rate):
    stream = Stream('3')
    opened(stream, [Video([1], named), *[Video([])] * 11])
    with stream:
        stream._reader.join(10)
    assert stream.rate == rate


def test_frames_of_hls_are_spread_over_their_time():
    stream, waits = Stream('https://camera/live.m3u8'), []
    stream._closing.wait = waits.append
    start = module.time.monotonic()
    origin = stream._wait_for(1000, 0)
    assert origin + 1000 == pytest.approx(start, abs=1)
    assert stream._wait_for(1002, origin) == stream._wait_for(999, origin) == origin
    assert waits == [pytest.approx(2, abs=0.5), 0]
    assert stream._wait_for(5, origin) + 5 == pytest.approx(start, abs=1)  # the stream starts again
    assert len(waits) == 2


def test_an_error_in_the_thread_is_raised_by_next():
    stream = Stream('3')
    opened(stream, [])
    with stream, pytest.raises(StopIteration):
        stream.next(10)


@pytest.mark.parametrize('old', [None, 'rtsp_transport;udp'])
def test_option_is_added_to_those_of_the_user(old, monkeypatch):
    monkeypatch.delenv(OPTIONS, raising=False)
    if old:
        monkeypatch.setenv(OPTIONS, old)
    with module._option('follow;1'):
        assert os.environ[OPTIONS] == '|'.join(filter(None, [old, 'follow;1']))
    assert os.environ.get(OPTIONS) == old
    with module._option(''):
        assert os.environ.get(OPTIONS) == old


@pytest.mark.parametrize('address', ['rtsp://me:se/cret@camera/live', 'rtsp://[me:secret@camera/live',
                                     'rtsp://me:secret@camera:secret/'])
def test_trouble_of_an_address_that_is_not_valid_shows_none_of_it(address, monkeypatch):
    monkeypatch.setattr(module.socket, 'create_connection', lambda *_: pytest.fail('asked'))
    assert Stream(address)._trouble().startswith('the address is not valid')


@pytest.mark.parametrize(('password', 'is_said'), [('$HAS_NONE', True), ('${HAS_NONE}', True), ('$HAS_ONE', False),
                                                   ('a$$1', False), ('x', False)])
def test_trouble_says_that_a_variable_is_missing_and_not_its_name(password, is_said, monkeypatch):
    monkeypatch.setenv('HAS_ONE', 'pass$word')
    monkeypatch.delenv('HAS_NONE', raising=False)
    with socket.create_server(('127.0.0.1', 0)) as server:
        trouble = Stream(f'rtsp://me:{password}@127.0.0.1:{server.getsockname()[1]}/live')._trouble()
    assert trouble.startswith('the server answers, but sends no video: ')
    assert trouble.endswith('right? The address has a $NAME that is no variable of the environment') == is_said
    assert 'HAS' not in trouble


def test_pixels_leaves_out_damaged_jpegs():
    class Packets(Video):
        def get(self, what):
            return cv2.VideoWriter.fourcc(*'MJPG')

        def set(self, what, value):
            return (what, value) == (cv2.CAP_PROP_FORMAT, -1)

        def read(self):
            content = next(self.values, None)
            return content is not None, content
    whole = [cv2.imencode('.jpg', np.full((height, 20, 3), 90, np.uint8))[1] for height in (10, 30)]
    frames = list(module._pixels(Packets([whole[0], whole[0][:7], whole[1]]), is_address=True))
    assert [frame.shape for frame in frames] == [(10, 20, 3), (30, 20, 3)]
    assert len(list(islice(module._pixels(Packets(whole), is_address=False), 5))) == 2
