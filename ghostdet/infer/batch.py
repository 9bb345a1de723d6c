"""Predict on many images and videos. Reading, the network and drawing run at the same time, each on another image."""
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ghostdet.errors import DISK_FULL, ImageError, Interrupted, UserError, reason
from ghostdet.files import UNFINISHED, make_folder, write_whole
from ghostdet.images.decode import write
from ghostdet.images.drawing import draw
from ghostdet.images.listing import check_format
from ghostdet.images.opencv import cv2
from ghostdet.infer.detections import Detections
from ghostdet.infer.detector import Detector
from ghostdet.infer.inputs import FOUND, MAKER, Source
from ghostdet.infer.prefetch import grouped, prefetch
from ghostdet.messages import LOGGER
from ghostdet.progress import progress

MOST_KINDS = 5  # classes in the summary
WAITING = 8  # most pictures that wait to be drawn
BAR = '{desc} {n}/{total_fmt} [{elapsed}, {remaining} left, {rate_fmt}]'


@dataclass
class Results:
    """The result of a prediction.

    Args:
        classes: class names, in the order of the labels.
        images, annotations: records in COCO's format.
        failed: messages about inputs that could not be read and pictures that could not be written.
        seconds: total time.
        in_network: seconds in the network only.
    """

    classes: tuple[str, ...]
    images: list[dict] = field(default_factory=list)
    annotations: list[dict] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0
    in_network: float = 0

    def add(self, source: Source, found: Detections, **more: Any) -> None:
        """Add the detections in an image or a video frame."""
        height, width = found.size
        image = dict(id=len(self.images) + 1, file_name=source.name, width=width, height=height, path=str(source.file),
                     **more)
        for record in found.to_coco(image['id']):
            area = record['bbox'][2] * record['bbox'][3]
            self.annotations.append(dict(id=len(self.annotations) + 1, **record, area=round(area, 3), iscrowd=0))
        self.images.append(image)

    def to_json(self) -> str:
        """Return a data set in COCO's format, with a score in each annotation."""
        categories = [dict(id=label + 1, name=name) for label, name in enumerate(self.classes)]
        info = dict(contributor=MAKER, left_out=self.failed)
        return json.dumps(dict(info=info, images=self.images, annotations=self.annotations, categories=categories))

    def to_text(self) -> str:
        """Return a summary in one line."""
        count = len(self.images)
        if not count:
            return 'no images'
        found = Counter(self.classes[record['category_id'] - 1] for record in self.annotations).most_common()
        kinds = ', '.join([f'{name} {number}' for name, number in found[:MOST_KINDS]]
                          + ['...'] * (len(found) > MOST_KINDS))
        return (f'{count} images, {len(self.annotations)} boxes{f" ({kinds})" if kinds else ""}, '
                f'{count / self.seconds:.1f} images/s; network: {1000 * self.in_network / count:.1f} ms per image')


def predict(detector: Detector, sources: list[Source], out: Path, threshold: float = 0.3,
            pictures: bool = True) -> Results:
    """Find objects in all sources. Write `detections.json` to `out`; with `pictures`, also a picture or video each.

    A source that cannot be read is reported and left out. If the run is interrupted, the results so far are written.

    Raises:
        UserError: the folder or a video cannot be written.
        Interrupted: the run was interrupted; the message says where the results are.
    """
    make_folder(out, '--out')
    results = Results(detector.classes)
    _write(results, out)  # fails now if the folder cannot be written, and marks the folder as a prediction's
    start = time.perf_counter()
    try:
        with progress(total=_total(sources), desc='predict', unit=' images', bar_format=BAR) as bar:
            _images(detector, [source for source in sources if not source.is_video], out if pictures else None,
                    threshold, results, bar)
            for source in (source for source in sources if source.is_video):
                with _noted(results):
                    _video(detector, source, out if pictures else None, threshold, results, bar)
    except KeyboardInterrupt as error:
        raise Interrupted(f'interrupted; the results of {len(results.images)} images are in {out / FOUND}') from error
    finally:
        results.seconds = time.perf_counter() - start
        _write(results, out)
    return results


def _write(results: Results, out: Path) -> None:
    write_whole(out / FOUND, results.to_json().encode())


def _images(detector: Detector, sources: list[Source], out: Path | None, threshold: float, results: Results,
            bar: Any) -> None:
    with _drawing() as later:
        for group in grouped(_readable(prefetch(_read(detector, sources)), results, bar), detector.batch):
            detections = _run(detector, [item[2] for item in group], threshold, results)
            for (source, content, _), found in zip(group, detections):
                results.add(source, found)
                if out is not None:
                    later(_picture, detector, content, found, out / source.picture, results)
                bar.update()


def _readable(items: Iterable[tuple[Source, bytes, Any]], results: Results,
              bar: Any) -> Iterator[tuple[Source, bytes, Any]]:
    """Yield what `_read` yields, but note the errors."""
    for item in items:
        if isinstance(item[2], ImageError):
            bar.update()
            _note(item[2], results)
        else:
            yield item


def _read(detector: Detector, sources: list[Source]) -> Iterator[tuple[Source, bytes, Any]]:
    """Yield each source, the bytes of its file, and the prepared image or an ImageError."""
    for source in sources:
        content = b''
        try:
            check_format(source.file)
            content = source.file.read_bytes()
            yield source, content, detector.prepare(content)
        except OSError as error:
            yield source, content, ImageError(f'{source.file} cannot be read ({reason(error)})')
        except ValueError as error:
            yield source, content, ImageError(f'{source.file} cannot be read ({error})')
        except ImageError as error:
            yield source, content, ImageError(str(error).replace('the image', str(source.file), 1))


def _picture(detector: Detector, content: bytes, found: Detections, file: Path, results: Results) -> None:
    with _noted(results):
        try:
            write(draw(detector.picture(content), found.drawable), file)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            raise ImageError(f'{file} cannot be written ({reason(error)})') from error


def _video(detector: Detector, source: Source, out: Path | None, threshold: float, results: Results, bar: Any) -> None:
    """Find objects in each frame of a video.

    Raises:
        ImageError: the video cannot be read, or ends too early; the frames read so far are in the results.
    """
    video = cv2.VideoCapture(str(source.file))
    try:
        expected, rate = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS) or 25
        count = 0
        with _writer(out and out / source.picture, rate) as write_frame, _drawing() as later:
            frames = prefetch((frame, detector.prepare(frame)) for frame in _frames(video))
            for group in grouped(frames, detector.batch):
                for (frame, _), found in zip(group, _run(detector, [image for _, image in group], threshold, results)):
                    results.add(source, found, frame=count)
                    if write_frame is not None:
                        later(write_frame, frame, found)
                    count += 1
                    bar.update()
    finally:
        video.release()
    if not count:
        raise ImageError(f'{source.file} is not a video that can be read')
    if expected - count > max(2, expected // 50):  # the frame count in a file is often slightly wrong
        raise ImageError(f'{source.file}: only {count} of its {expected} frames can be read')


def _frames(video: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        read, frame = video.read()
        if not read:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


@contextmanager
def _writer(file: Path | None, rate: float) -> Iterator[Callable[[np.ndarray, Detections], None] | None]:
    """Yield a function that appends a frame with its boxes to the video `file`; None if `file` is None."""
    if file is None:
        yield None
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f'{UNFINISHED}{file.suffix}')
    opened: list[cv2.VideoWriter] = []

    def write_frame(frame: np.ndarray, found: Detections) -> None:
        if not opened:
            opened.append(cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*'mp4v'), rate, frame.shape[1::-1]))
            if not opened[0].isOpened():
                raise UserError(f'the video {file} cannot be written: '
                                'use --no-pictures to write no pictures and videos')
        opened[0].write(cv2.cvtColor(draw(frame, found.drawable), cv2.COLOR_RGB2BGR))
    try:
        yield write_frame
    finally:
        for writer in opened:
            writer.release()
        if part.exists():  # it does not if the writer could not be opened
            part.replace(file)


@contextmanager
def _drawing() -> Iterator[Callable[..., None]]:
    """Yield a function that queues calls for one thread, to run in order; it blocks while the queue is too long."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as pool:
        def later(function: Callable[..., None], *arguments: Any) -> None:
            waiting.append(pool.submit(function, *arguments))
            while len(waiting) > WAITING:
                waiting.popleft().result()
        yield later
        while waiting:
            waiting.popleft().result()


def _run(detector: Detector, images: list, threshold: float, results: Results) -> list[Detections]:
    start = time.perf_counter()
    found = detector.run(images)
    results.in_network += time.perf_counter() - start
    return [detections.above(threshold) for detections in found]


@contextmanager
def _noted(results: Results) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        _note(error, results)


def _note(error: ImageError, results: Results) -> None:
    with tqdm.external_write_mode():
        LOGGER.info(f'left out: {error}')
    results.failed.append(str(error))


def _total(sources: list[Source]) -> int | None:
    """Count the images and video frames, by the frame counts that the video files report."""
    total = 0
    for source in sources:
        if source.is_video:
            video = cv2.VideoCapture(str(source.file))
            total += max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
            video.release()
        else:
            total += 1
    return total
