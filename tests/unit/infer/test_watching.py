"""The window of a stream, its summary, and what `ghostdet predict` refuses of streams."""
from collections import Counter

import cv2
import pytest

from ghostdet.cli import door
from ghostdet.errors import UserError
from ghostdet.infer import watching
from ghostdet.infer.watching import Summary, Window
from tests.conftest import tool

SECRET = 'rtsp://me:pass-word@camera/live?token=to-ken'


def test_summary_in_one_line():
    assert Summary().to_text() == 'no frames'
    summary = Summary(10, Counter(a=3, b=5), seconds=4, in_network=0.5, behind=0.75)
    assert summary.to_text() == ('10 frames, 8 boxes (b 5, a 3), 2.5 frames/s; network: 50.0 ms per frame; '
                                 'from a frame to its boxes: 75.0 ms')


@pytest.mark.parametrize(('build', 'variables', 'message'), [
    ('  GUI:                           NONE', {}, 'OpenCV cannot open a window'),
    ('  GUI:                           QT5', {}, 'there is no display'),
    ('  GUI:                           GTK3', dict(DISPLAY=':0'), 'OpenCV cannot open a window')])
def test_window_says_what_is_missing(build, variables, message, monkeypatch):
    def refuse(*_):
        raise cv2.error('no window')
    monkeypatch.setattr(cv2, 'getBuildInformation', lambda: build)
    monkeypatch.setattr(cv2, 'namedWindow', refuse)
    monkeypatch.setattr(watching.sys, 'platform', 'linux')
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f'--show: {message}'):
        Window('a')


@pytest.mark.parametrize(('key', 'visible', 'closed'), [(ord('q'), 1, True), (27, 1, True), (-1, 0, True),
                                                        (ord('a'), 1, False), (-1, 1, False)])
def test_window_is_closed_by_a_key_or_by_its_button(key, visible, closed, monkeypatch):
    monkeypatch.setattr(cv2, 'getBuildInformation', lambda: 'GUI: NONE')
    for name, value in dict(namedWindow=None, imshow=None, waitKey=key, getWindowProperty=visible).items():
        monkeypatch.setattr(cv2, name, lambda *_, value=value: value)
    window = Window('a')
    assert window.is_closed() == (closed and key != -1)  # some systems report a window as hidden before its first frame
    window.show(None)
    assert window.is_closed() == closed


@pytest.mark.parametrize(('words', 'message'), [
    ([SECRET], 'choose --out FILE to record it, --show to see it, or both'),
    ([SECRET, 'a.png', '--out', 'o'], 'run one command for each stream'),
    ([SECRET, '0', '--out', 'o'], 'run one command for each stream'),
    ([SECRET, '--out', 'a.webm'], 'expected a name that ends with .mp4'),
    ([SECRET, '--out', 'a.mp4', '--seconds', '0'], '--seconds 0.0: expected a number above 0'),
    ([SECRET, '--out', 'a.mp4', '--follow'], '--follow reads a video file that grows'),
    (['ftp' + SECRET[4:], '--out', 'a.mp4'], 'expected an address that begins with rtsp://'),
    (['.', '--out', 'o', '--seconds', '3'], '--show and --seconds are for cameras'),
    (['.', '--out', 'o', '--show'], '--show and --seconds are for cameras')])
def test_predict_refuses_of_streams_what_it_cannot_do(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert door.run(tool('predict'), ['detector.xml', *words]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert 'pass-word' not in said
    assert 'to-ken' not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('words', 'message'), [
    (['a.png'], 'the following arguments are required: --out'),
    (['a.png', '--out', 'o', f'--see={SECRET}'], 'unrecognized arguments: --see=rtsp://***@camera/live?token=***')])
def test_predict_shows_its_usage_without_passwords(words, message, capsys):
    with pytest.raises(SystemExit, match='2'):
        tool('predict')(['detector.xml', *words])
    said = capsys.readouterr().err
    assert message in said
    assert 'pass-word' not in said
