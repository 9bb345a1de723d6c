"""Read a camera, an address or a video that grows. A lost connection is opened again."""
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Condition, Event, Thread
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ghostdet.errors import UserError, reason
from ghostdet.images.opencv import cv2
from ghostdet.messages import LOGGER

PORTS = dict(rtsp=554, rtsps=322, rtmp=1935, rtmps=443, http=80, https=443)
ADDRESS = re.compile(r'[a-z][a-z0-9+.-]+:/+', re.IGNORECASE)  # one letter is a drive of Windows
VARIABLE = re.compile(r'\$\{?([A-Za-z_]\w*)', re.ASCII)
TIMEOUT = 10  # seconds without an answer, a frame or, for a file, growth
TRIES = 4  # of an address that has given no frame yet
LONGEST = 30  # seconds between two tries
RATE, MAX_RATE = 25.0, 240  # frames a second where the source names no rate that can be true
# In OpenCV 4 and 5: setLogLevel takes a level, 0 for no messages, and returns the one before.
_log = cv2 if hasattr(cv2, 'setLogLevel') else cv2.utils.logging  # type: ignore[attr-defined]
OPTIONS = 'OPENCV_FFMPEG_CAPTURE_OPTIONS'


def is_stream(source: str) -> bool:
    """Return whether an input is a camera's number or an address. A file of that name comes first."""
    return not os.path.lexists(source) and bool(_is_camera(source) or ADDRESS.match(os.path.expandvars(source)))


def _is_camera(source: str) -> bool:
    return source.isascii() and source.isdigit()


def redacted(source: str) -> str:
    """Return a word with an address, without its user, its password and the values of its query.

    >>> redacted('rtsp://me:secret@camera:554/live?channel=1&token=abc')
    'rtsp://***@camera:554/live?channel=***&token=***'
    """
    scheme = ADDRESS.search(source)
    if scheme is None:
        return source
    rest = source[scheme.end():]
    user, _, rest = rest.rpartition('@')  # a password may hold / ? and #
    place, mark, query = rest.partition('?')
    values = (f'{part.partition("=")[0]}=***' if '=' in part else '***' for part in query.split('&') if mark)
    return source[:scheme.end()] + ('***@' if user else '') + place.partition('#')[0] + mark + '&'.join(values)


@dataclass(frozen=True)
class Frame:
    """A frame of a stream.

    Args:
        pixels: BGR (H, W, 3) uint8.
        number: of the frames that arrived before it, also those that nobody took.
        time: when it arrived, with time zone.
        arrived: the same in seconds of `time.monotonic`.
        clock: when it is to be shown, in seconds: when it arrived, or its place in a file.
        connection: 1, 2, ...: of the connection that gave it.
    """

    pixels: np.ndarray
    number: int
    time: datetime
    arrived: float
    clock: float
    connection: int


class Stream:
    """Frames of a camera, an address or a growing file, which a thread reads inside the `with` block.

    Of a camera or an address only the latest frame is kept. A file's frames are kept in order until they are taken.

    Args:
        source: number of a camera, or an address, in which $NAME stands for a variable of the environment; or a file.
        follow: the source is a file: at its end, wait until it grows.

    Attributes:
        name: the source without passwords, for messages.
        rate: frames a second that the source names.

    Raises:
        UserError: the address is of a kind that cannot be read.
    """

    def __init__(self, source: str, follow: bool = False) -> None:
        self._source, self._follow = os.path.abspath(source) if follow else os.path.expandvars(source), follow
        self.camera = not follow and _is_camera(source)
        self.name, self.rate = f'camera {source}' if self.camera else source if follow else redacted(source), RATE
        self.scheme = '' if follow or self.camera else self._source.partition('://')[0].lower()
        if self.scheme not in ('', *PORTS):
            raise UserError(f'{self.name}: expected an address that begins with '
                            f'{", ".join(f"{name}://" for name in PORTS)}')
        self._unknown = any(name not in os.environ for name in VARIABLE.findall(source))
        self._changed, self._closing = Condition(), Event()
        self._frame: Frame | None = None
        self._error: Exception | None = None
        self._done, self._count, self._connections, self._log_level = False, 0, 0, 0
        self._reader = Thread(target=self._read, daemon=True)

    def __enter__(self) -> 'Stream':
        # FFmpeg and OpenCV print addresses with their passwords. A user who sets the variable wants these messages.
        os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
        self._log_level = _log.setLogLevel(0)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._reader.join(2)  # a read that hangs ends with the process
        _log.setLogLevel(self._log_level)

    @property
    def ended(self) -> bool:
        """Whether there is no frame, and never will be another."""
        with self._changed:
            return self._done and self._frame is None and self._error is None

    def next(self, seconds: float) -> Frame | None:
        """Return the frame that waits; else the first one that arrives within `seconds`; None if there is none.

        Raises:
            UserError: the source cannot be read.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._done, seconds)
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            if frame is None and self._error is not None:
                raise self._error
        return frame

    # ------------------------------------------------------------------------------------------- in the reader's thread

    def _read(self) -> None:
        try:
            if self._follow:
                self._read_file()
            else:
                self._keep_connected()
        except Exception as error:  # noqa: BLE001  (`next` raises it)
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def _read_file(self) -> None:
        self._receive()
        if not self._count and not self._closing.is_set():
            raise UserError(f'{self.name} has no frame that can be read while the file grows. Files of .mkv, .ts and '
                            '.avi can be read then; most of .mp4 and .mov only when they are complete')
        if not self._closing.is_set():
            LOGGER.info(f'{self.name} has not grown for {TIMEOUT} s: this is its end')

    def _keep_connected(self) -> None:
        """Read until the stream is closed. After each failure, the pause before the next try is twice as long."""
        tries = 0
        while not self._closing.is_set():
            before = self._count
            self._receive()
            worked = self._count > before
            tries = 1 if worked else tries + 1
            if self._closing.is_set():
                return
            trouble = 'no more frames arrive' if worked else f'no connection ({self._trouble()})'
            if not self._count and tries >= (1 if self.camera else TRIES):
                raise UserError(f'{self.name}: {trouble}')
            pause = min(2 ** min(tries - 1, 10), LONGEST)
            LOGGER.info(f'{self.name}: {trouble}; trying again in {pause} s')
            self._closing.wait(pause)

    def _receive(self) -> None:
        """Open the source, and take its frames until no more arrive."""
        video, first = self._open(), self._count
        if self.scheme in ('http', 'https') and video.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
            raise UserError(f'{self.name} is a video with an end: download it, and name the file')
        in_parts, origin = '.m3u8' in self._source, 0.0
        for pixels in _pixels(video, is_address=bool(self.scheme)):
            if in_parts:  # HLS: many frames arrive at once
                origin = self._wait_for(video.get(cv2.CAP_PROP_POS_MSEC) / 1000, origin)
            arrived = time.monotonic()
            if self._count == first:
                self._connections += 1
                self._say_connected(video)
            self._offer(Frame(pixels, self._count, datetime.now().astimezone(), arrived,
                              self._count / self.rate if self._follow else arrived, self._connections))
            self._count += 1
            if self._closing.is_set():
                break
        video.release()

    def _wait_for(self, place: float, origin: float) -> float:
        """Wait until a frame is due.

        Args:
            place: of the frame in the stream, in seconds.
            origin: when a frame at 0 was due, in seconds of `time.monotonic`; returned for the next frame.
        """
        early = origin + place - time.monotonic()
        if abs(early) > LONGEST:  # the first frame, or a jump in the stream
            return origin - early
        self._closing.wait(max(0, early))
        return origin

    def _say_connected(self, video: Any) -> None:
        if self._connections > 1:
            LOGGER.info(f'{self.name}: connected again')
            return
        rate = video.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1 <= rate <= MAX_RATE else RATE
        LOGGER.info(f'{self.name}: {"opened" if self._follow else "connected"}')

    def _offer(self, frame: Frame) -> None:
        with self._changed:
            if self._follow:
                self._changed.wait_for(lambda: self._frame is None or self._closing.is_set())
            self._frame = frame
            self._changed.notify_all()

    def _open(self) -> Any:
        if self.camera:
            return cv2.VideoCapture(int(self._source))
        settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1000 * TIMEOUT,
                    cv2.CAP_PROP_N_THREADS, 1]  # of N threads, FFmpeg keeps back N - 1 frames of H.264
        with _option('follow;1' if self._follow else ''):
            # Other backends print the address that they cannot open.
            return cv2.VideoCapture(self._source, cv2.CAP_FFMPEG, settings)

    def _trouble(self) -> str:
        """Return why there is no connection."""
        if self.camera:
            return 'is the camera there, and not in use by another program?'
        try:
            parts = urlsplit(self._source)
            place = parts.hostname or '', parts.port or PORTS[self.scheme]
        except ValueError:  # its message would show the address
            return 'the address is not valid: write a / in a password as %2F, an @ as %40'
        try:
            socket.create_connection(place, TIMEOUT).close()
        except (OSError, UnicodeError) as error:
            return reason(error) if isinstance(error, OSError) else 'the name of the server is not valid'
        # Without the name: it can be a part of a password that has a $.
        return ('the server answers, but sends no video: are the path and the password right?'
                + ' The address has a $NAME that is no variable of the environment' * self._unknown)


def _pixels(video: Any, is_address: bool) -> Iterator[np.ndarray]:
    """Yield the frames of an open video, BGR (H, W, 3)."""
    # OpenCV gives wrong pictures once the size of the frames changes in a connection. It can give JPEGs as they are.
    jpegs = is_address and video.get(cv2.CAP_PROP_FOURCC) == cv2.VideoWriter.fourcc(*'MJPG') and video.set(
        cv2.CAP_PROP_FORMAT, -1)
    while (read := video.read())[0]:
        pixels = cv2.imdecode(read[1], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if jpegs else read[1]
        if pixels is not None:  # a damaged one is left out
            yield pixels


@contextmanager
def _option(text: str) -> Iterator[None]:
    """Add an option to those with which OpenCV opens a video; '' adds none."""
    old = os.environ.get(OPTIONS)
    if text:
        os.environ[OPTIONS] = f'{old}|{text}' if old else text
    try:
        yield
    finally:
        os.environ.pop(OPTIONS, None)
        os.environ.update({} if old is None else {OPTIONS: old})
