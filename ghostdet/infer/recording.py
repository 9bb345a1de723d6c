"""Write the frames of a stream with their boxes: a video that plays in real time, and a line of JSON for each frame."""
import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from ghostdet.errors import UserError, reason
from ghostdet.files import UNFINISHED, make_folder
from ghostdet.images.drawing import draw
from ghostdet.images.opencv import cv2
from ghostdet.infer.detections import Detections
from ghostdet.infer.inputs import VIDEOS
from ghostdet.infer.stream import Frame
from ghostdet.messages import LOGGER

CODECS = {'.mp4': 'mp4v', '.mkv': 'XVID', '.avi': 'XVID'}
RESERVE = 64 * 2 ** 20  # bytes that stay free on the disk: without its end, which comes last, no player opens an .mp4


class Shown:
    """A frame and what was found in it."""

    def __init__(self, frame: Frame, detections: Detections) -> None:
        self.frame, self.detections = frame, detections

    @cached_property
    def picture(self) -> np.ndarray:
        """The frame with its boxes, BGR (H, W, 3)."""
        drawn = draw(cv2.cvtColor(self.frame.pixels, cv2.COLOR_BGR2RGB), self.detections.drawable)
        return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)

    def to_json(self) -> str:
        """Return time, frame number, size and boxes: [left, top, width, height] in pixels of the frame."""
        height, width = self.detections.size
        boxes = [dict(name=name, score=record['score'], bbox=record['bbox'])
                 for name, record in zip(self.detections.names, self.detections.to_coco(0))]
        return json.dumps(dict(time=self.frame.time.isoformat(timespec='milliseconds'), frame=self.frame.number,
                               width=width, height=height, boxes=boxes), ensure_ascii=False)


class Pace:
    """Says how often a frame is repeated, so that a video of a fixed rate plays in real time.

    Args:
        rate: frames a second.

    >>> pace = Pace(10)
    >>> [pace.repeats(clock, connection) for clock, connection in ((5, 1), (5.5, 1), (5.52, 1), (90, 2), (90.3, 2))]
    [0, 5, 0, 1, 3]
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.written, self.start, self.connection = rate, 0, 0.0, 0

    def repeats(self, clock: float, connection: int) -> int:
        """Return how often the frame before is to be written, now that the next one is there.

        Args:
            clock, connection: of the next frame, as in `Frame`. The time without a connection is left out.
        """
        count = min(self.connection, 1) if connection != self.connection else max(
            0, round((clock - self.start) * self.rate) - self.written)
        self.written += count
        if connection != self.connection:
            self.connection, self.start = connection, clock - self.written / self.rate
        return count


class Clip:
    """A video file, all of the size of its first frame.

    Args:
        file: its name when it is complete.
        rate: frames a second.
    """

    def __init__(self, file: Path, rate: float) -> None:
        self.file, self.pace = file, Pace(rate)
        self.part = file.with_suffix(f'{UNFINISHED}{file.suffix}')
        self._writer, self._last = cv2.VideoWriter(), None  # type: cv2.VideoWriter, Shown | None
        self._size = (0, 0)
        self._resized = False

    def add(self, shown: Shown) -> None:
        """Add a frame. It is written when the next one is there.

        Raises:
            UserError: the file cannot be written.
        """
        self._write(self.pace.repeats(shown.frame.clock, shown.frame.connection))
        self._last = shown

    def close(self) -> None:
        """Write the last frame, and complete the file."""
        try:
            self._write(1)
        finally:
            self._writer.release()
            if self.part.exists():
                self.part.replace(self.file)

    def _write(self, times: int) -> None:
        if not times or self._last is None:
            return
        picture = self._last.picture
        if not self._writer.isOpened():
            self._size = picture.shape[1], picture.shape[0]
            codec = cv2.VideoWriter.fourcc(*CODECS[self.file.suffix.lower()])
            if not self._writer.open(str(self.part), cv2.CAP_FFMPEG, codec, self.pace.rate, self._size):
                raise UserError(f'the video {self.file} cannot be written: use --no-pictures to write none')
        if picture.shape[1::-1] != self._size:
            if not self._resized:
                LOGGER.info(f'the size of the frames is {picture.shape[1]}x{picture.shape[0]} from here on: they are '
                            f'fitted into the {self._size[0]}x{self._size[1]} pixels of {self.file}')
            self._resized = True
            picture = letterboxed(picture, self._size)
        for _ in range(times):
            self._writer.write(picture)


def letterboxed(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an image (H, W, 3) scaled to fit into `size` (width, height), with black borders."""
    height, width = picture.shape[:2]
    factor = min(size[0] / width, size[1] / height)
    inner = cv2.resize(picture, (max(1, round(factor * width)), max(1, round(factor * height))))
    right, below = size[0] - inner.shape[1], size[1] - inner.shape[0]
    return cv2.copyMakeBorder(inner, below // 2, below - below // 2, right // 2, right - right // 2,
                              cv2.BORDER_CONSTANT)


class Recording:
    """A clip and a .jsonl file beside it, written inside the `with` block.

    Args:
        out: name of the clip, or a folder for `stream.mp4`.
        pictures: False: write only the .jsonl file.

    Raises:
        UserError: a file exists already, or the clip has a format that cannot be written.
    """

    def __init__(self, out: Path, pictures: bool = True) -> None:
        file = out if out.suffix.lower() in VIDEOS else out / 'stream.mp4'
        if file.suffix.lower() not in CODECS:
            raise UserError(f'--out {out}: expected a name that ends with {", ".join(CODECS)}, or a folder')
        self.lines = file.with_suffix('.jsonl')
        self.file = file if pictures else None
        for path in (file, self.lines) if pictures else (self.lines,):
            if path.exists():
                raise UserError(f'{path} exists already, and a recording cannot be made again: choose another name '
                                'with --out')
        self._clip: Clip | None = None
        self._opened: IO[str] | None = None

    def __str__(self) -> str:
        return ', '.join(str(path) for path in (self.file, self.lines) if path is not None)

    def __enter__(self) -> 'Recording':
        make_folder(self.lines.parent, '--out')
        try:
            self._opened = self.lines.open('x', encoding='utf-8')
        except OSError as error:
            raise UserError(f'{self.lines} cannot be written ({reason(error)}): choose another name with '
                            '--out') from error
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._clip is not None:
                self._clip.close()
        finally:
            assert self._opened is not None
            self._opened.close()
            if not self.lines.stat().st_size:  # no frame arrived
                self.lines.unlink()

    def write(self, shown: Shown, rate: float) -> None:
        """Add a frame.

        Args:
            rate: frames a second of the clip; that of the first frame counts.

        Raises:
            UserError: the disk is nearly full, or the clip cannot be written.
        """
        if shutil.disk_usage(self.lines.parent).free < RESERVE:
            raise UserError(f'the disk of {self.lines.parent.absolute()} has less than {RESERVE >> 20} MB free: the '
                            f'recording ends here. What is written is complete: {self}')
        assert self._opened is not None
        self._opened.write(f'{shown.to_json()}\n')
        self._opened.flush()  # for programs that read along
        if self.file is not None:
            self._clip = self._clip or Clip(self.file, rate)
            self._clip.add(shown)
