"""Find objects in the frames of a stream, as they arrive: record them, or show them in a window."""
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from ghostdet.errors import Interrupted, UserError
from ghostdet.images.opencv import cv2
from ghostdet.infer.batch import counted
from ghostdet.infer.detector import Detector
from ghostdet.infer.recording import Recording, Shown
from ghostdet.infer.stream import Frame, Stream
from ghostdet.progress import progress

BAR = '{desc} {n} frames [{elapsed}, {rate_fmt}{postfix}]'
KEYS = (ord('q'), 27)  # q and Esc close the window


@dataclass
class Summary:
    """What was found in a stream.

    Args:
        frames: number of frames that the network has seen.
        boxes: number of boxes of each class.
        seconds: total time.
        in_network: seconds in the network only.
        behind: sum of the seconds from the arrival of each frame to its boxes.
    """

    frames: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0
    in_network: float = 0
    behind: float = 0

    def to_text(self) -> str:
        """Return a summary in one line."""
        if not self.frames:
            return 'no frames'
        network, behind = (1000 * seconds / self.frames for seconds in (self.in_network, self.behind))
        return (f'{self.frames} frames, {counted(self.boxes)}, '
                f'{self.frames / self.seconds:.1f} frames/s; network: {network:.1f} ms per frame; '
                f'from a frame to its boxes: {behind:.1f} ms')


class Window:
    """A window for frames with boxes.

    Raises:
        UserError: OpenCV has no windows, or there is no display.
    """

    def __init__(self, title: str) -> None:
        self.title, self._shown = title, False
        without = re.search(r'GUI:\s+NONE', cv2.getBuildInformation())
        # The build for desktops ends the process where there is no display.
        if not without and sys.platform == 'linux' and not {'DISPLAY', 'WAYLAND_DISPLAY'} & set(os.environ):
            raise UserError('--show: there is no display (the variable DISPLAY is not set). Run it on a desktop, or '
                            'record with --out')
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error:
            raise UserError('--show: OpenCV cannot open a window. The build that is installed may have none: '
                            'pip uninstall -y opencv-python-headless && pip install --force-reinstall --no-deps '
                            'opencv-python') from None

    def show(self, picture: np.ndarray) -> None:
        """Show a BGR image (H, W, 3)."""
        cv2.imshow(self.title, picture)
        self._shown = True

    def is_closed(self) -> bool:
        """Return whether the user has closed the window, or pressed q or Esc."""
        if cv2.waitKey(1) & 0xFF in KEYS:
            return True
        return self._shown and cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1


def watch(detector: Detector, stream: Stream, threshold: float | Sequence[float], recording: Recording | None = None,
          window: Window | None = None, seconds: float | None = None) -> Summary:
    """Find objects in a stream until it ends, the window is closed, or `seconds` have passed.

    Each time the network takes the latest frame. Frames are drawn and written in another thread.

    Args:
        threshold: as in `Detector.__call__`.

    Raises:
        UserError: the stream cannot be read, or the recording cannot be written.
        Interrupted: the run was interrupted; the message has the summary.
    """
    summary, start = Summary(), time.monotonic()
    try:
        with (recording or nullcontext(), stream, ThreadPoolExecutor(1) as writer,
              progress(desc='predict', unit=' frames', bar_format=BAR) as bar):
            written: Future[None] | None = None
            for frame in _frames(stream, window, seconds):
                shown = _find(detector, frame, threshold, summary)
                if recording is not None:
                    if written is not None:
                        written.result()
                    written = writer.submit(recording.write, shown, stream.rate)
                if window is not None:
                    window.show(shown.picture)
                bar.set_postfix_str(f'{1000 * (time.monotonic() - frame.arrived):.0f} ms behind, '
                                    f'{len(shown.detections)} boxes', refresh=False)
                bar.update()
            if written is not None:
                written.result()
    except KeyboardInterrupt as error:
        summary.seconds = time.monotonic() - start
        where = f'; results: {recording}' if recording and summary.frames else ''
        raise Interrupted(f'interrupted; {summary.to_text()}{where}') from error
    summary.seconds = time.monotonic() - start
    return summary


def _find(detector: Detector, frame: Frame, threshold: float | Sequence[float], summary: Summary) -> Shown:
    prepared = detector.prepare(cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2RGB))
    start = time.monotonic()
    found = detector.run([prepared])[0].above(threshold)
    end = time.monotonic()
    summary.frames += 1
    summary.boxes.update(found.names)
    summary.in_network += end - start
    summary.behind += end - frame.arrived
    return Shown(frame, found)


def _frames(stream: Stream, window: Window | None, seconds: float | None) -> Iterator[Frame]:
    end = float('inf') if seconds is None else time.monotonic() + seconds
    while not stream.ended and time.monotonic() < end and not (window and window.is_closed()):
        frame = stream.next(0.1)
        if frame is not None:
            yield frame
