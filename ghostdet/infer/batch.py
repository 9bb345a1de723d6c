"""Predict on many images and videos. Reading, the network and drawing run at the same time, each on another image."""
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from ghostdet.images.opencv import cv2
from ghostdet.infer.detections import Detections
from ghostdet.infer.detector import Detector
from ghostdet.infer.inputs import MAKER, RESULTS, Source
from ghostdet.infer.prefetch import run_ahead
from ghostdet.messages import LOGGER
from ghostdet.progress import progress

MAX_CLASSES = 5  # in the summary
# Takes an image, its detections, and those with any score. It may raise an ImageError.
Watcher = Callable[[Source, Detections, Detections], None]
BAR = '{desc} {n}/{total_fmt} [{elapsed}, {remaining} left, {rate_fmt}]'


@dataclass
class Results:
    """The result of a prediction.

    Args:
        classes: class names, in the order of the labels.
        images, annotations: records in COCO's format.
        failed: messages about inputs that could not be read and images that could not be written.
        seconds: total time.
        in_network: seconds in the network only.
        max_objects: largest number of boxes that the detector returns for an image; None: no limit.
        full: number of images that have as many.
    """

    classes: tuple[str, ...]
    images: list[dict] = field(default_factory=list)
    annotations: list[dict] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0
    in_network: float = 0
    max_objects: int | None = None
    full: int = 0

    def add(self, source: Source, detections: Detections, **more: Any) -> None:
        """Add the detections in an image or a video frame."""
        height, width = detections.size
        self.full += self.max_objects is not None and len(detections) >= self.max_objects
        image = dict(id=len(self.images) + 1, file_name=source.name, width=width, height=height, path=str(source.file),
                     **more)
        for record in detections.to_coco(image['id']):
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
        boxes = Counter(self.classes[record['category_id'] - 1] for record in self.annotations)
        return (f'{count} images, {counted(boxes)}, '
                f'{count / self.seconds:.1f} images/s; network: {1000 * self.in_network / count:.1f} ms per image')


def counted(boxes: Counter[str]) -> str:
    """Return the number of boxes, and of those of the most frequent classes.

    >>> counted(Counter(dog=1, cat=2))
    '3 boxes (cat 2, dog 1)'
    """
    names = [f'{name} {number}' for name, number in boxes.most_common(MAX_CLASSES)]
    names += ['...'] * (len(boxes) > MAX_CLASSES)
    return f'{boxes.total()} boxes' + (f' ({", ".join(names)})' if names else '')


def predict(detector: Detector, sources: list[Source], out: Path, threshold: float | Sequence[float] | None = None,
            draws: bool = True, watchers: Sequence[Watcher] = ()) -> Results:
    """Find objects in all sources. Write `detections.json` to `out` and, with `draws`, an image or video with boxes for
    each source.

    `threshold` is as in `Detector.__call__`. Each of the `watchers` is called for each image. A source that cannot be
    read is reported and left out. If the run is interrupted, the results so far are written.

    Raises:
        UserError: the folder or a video cannot be written.
        Interrupted: the run was interrupted; the message says where the results are.
    """
    make_folder(out, '--out')
    results = Results(detector.classes, max_objects=detector.max_objects)
    _write(results, out)  # fails now if the folder cannot be written, and marks the folder as a prediction's
    start = time.perf_counter()
    try:
        with progress(total=_total(sources), desc='predict', unit=' images', bar_format=BAR) as bar:
            prediction = _Prediction(detector, out if draws else None,
                                     detector.threshold if threshold is None else threshold, results, bar, watchers)
            prediction.images([source for source in sources if not source.is_video])
            for source in (source for source in sources if source.is_video):
                with _noted(results):
                    prediction.video(source)
    except KeyboardInterrupt as error:
        raise Interrupted(f'interrupted; the results of {len(results.images)} images are in {out / RESULTS}') from error
    finally:
        results.seconds = time.perf_counter() - start
        _write(results, out)
    return results


def _write(results: Results, out: Path) -> None:
    write_whole(out / RESULTS, results.to_json().encode())


@dataclass
class _Prediction:
    """A run. `out` is the folder for drawn images and videos; None: nothing is drawn."""

    detector: Detector
    out: Path | None
    threshold: float | Sequence[float]
    results: Results
    bar: Any
    watchers: Sequence[Watcher]

    def images(self, sources: Iterable[Source]) -> None:
        """Find objects in image files."""
        prepared = ((source, self._prepared(source.file)) for source in sources)
        for source, every in run_ahead(prepared, self._run, self.detector.batch, self.detector.ahead):
            with _noted(self.results):
                if isinstance(every, ImageError):
                    raise every
                detections = every.above(self.threshold)
                self.results.add(source, detections)
                for watcher in self.watchers:
                    watcher(source, detections, every)
                if self.out is not None:
                    self._draw(source.file, detections, self.out / source.drawn)
            self.bar.update()

    def video(self, source: Source) -> None:
        """Find objects in each frame of a video.

        Raises:
            ImageError: the video cannot be read, or ends too early; the frames read so far are in the results.
        """
        video = cv2.VideoCapture(str(source.file))
        expected, rate = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS) or 25
        prepared = ((frame, self.detector.prepare(frame)) for frame in _frames(video))
        count = 0
        with _writer(self.out and self.out / source.drawn, rate) as write_frame:
            for frame, every in run_ahead(prepared, self._run, self.detector.batch, self.detector.ahead):
                detections = every.above(self.threshold)
                self.results.add(source, detections, frame=count)
                write_frame(frame, detections)
                count += 1
                self.bar.update()
        if not count:
            raise ImageError(f'{source.file} is not a video that can be read')
        if expected - count > max(2, expected // 50):  # the frame count in a file is often slightly wrong
            raise ImageError(f'{source.file}: only {count} of its {expected} frames can be read')

    def _prepared(self, file: Path) -> Any:
        """Return an image as `Detector.prepare` does, or the error."""
        try:
            return self.detector.prepare(file)
        except ImageError as error:
            return error

    def _run(self, images: list) -> list:
        """Return the detections in prepared images; errors in their place stay."""
        start = time.perf_counter()
        detections = iter(self.detector.run([image for image in images if not isinstance(image, ImageError)]))
        self.results.in_network += time.perf_counter() - start
        return [image if isinstance(image, ImageError) else next(detections) for image in images]

    def _draw(self, file: Path, detections: Detections, out: Path) -> None:
        try:
            write(draw(self.detector.pixels(file.read_bytes()), detections.drawable), out)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            raise ImageError(f'{out} cannot be written ({reason(error)})') from error


def _frames(video: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while (read := video.read())[0]:
        yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)


@contextmanager
def _writer(file: Path | None, rate: float) -> Iterator[Callable[[np.ndarray, Detections], None]]:
    """Yield a function that appends a frame with its boxes to the video `file`; it does nothing if `file` is None."""
    if file is None:
        yield lambda *_: None
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part, writer = file.with_suffix(f'{UNFINISHED}{file.suffix}'), cv2.VideoWriter()

    def write_frame(frame: np.ndarray, detections: Detections) -> None:
        if not writer.isOpened() and not writer.open(str(part), cv2.VideoWriter.fourcc(*'mp4v'), rate,
                                                     frame.shape[1::-1]):
            raise UserError(f'the video {file} cannot be written: use --no-pictures to write no images and videos')
        writer.write(cv2.cvtColor(draw(frame, detections.drawable), cv2.COLOR_RGB2BGR))
    try:
        yield write_frame
    finally:
        writer.release()
        if part.exists():  # it does not if the writer could not be opened
            part.replace(file)


@contextmanager
def _noted(results: Results) -> Iterator[None]:
    """Report an ImageError, add its message to the results, and continue."""
    try:
        yield
    except ImageError as error:
        with tqdm.external_write_mode():
            LOGGER.info(f'left out: {error}')
        results.failed.append(str(error))


def _total(sources: list[Source]) -> int:
    """Count the images and video frames, by the frame counts that the video files report."""
    return sum(max(0, int(cv2.VideoCapture(str(source.file)).get(cv2.CAP_PROP_FRAME_COUNT))) if source.is_video else 1
               for source in sources)
