"""Predict on many images and videos. Reading, the network and drawing run at the same time, each on another image."""
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from ghostdet.errors import DISK_FULL, ImageError, Interrupted, UserError, reason
from ghostdet.files import UNFINISHED, make_folder
from ghostdet.images.decode import write
from ghostdet.images.drawing import draw
from ghostdet.images.opencv import cv2
from ghostdet.infer.coco_file import CocoFile
from ghostdet.infer.detections import Detections
from ghostdet.infer.detector import Detector
from ghostdet.infer.inputs import RESULTS, Source
from ghostdet.infer.ordered import grouped, ordered
from ghostdet.messages import LOGGER
from ghostdet.progress import progress

MAX_CLASSES = 5  # in the summary
# Takes an image, its detections, and those with any score. It may raise an ImageError.
Watcher = Callable[[Source, Detections, Detections], None]
T = TypeVar('T')
BAR = '{desc} {n}/{total_fmt} [{elapsed}, {remaining} left, {rate_fmt}]'


@dataclass
class Results:
    """The result of a prediction.

    Args:
        max_objects: largest number of boxes that the detector returns for an image; None: no limit.
        images: number of images and video frames.
        boxes: number of boxes of each class.
        failed: messages about inputs that could not be read and images that could not be written.
        seconds: total time.
        in_network: seconds in the network only, of all images; some may have been there at the same time.
        full: number of images that have `max_objects` boxes.
    """

    max_objects: int | None = None
    images: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0
    in_network: float = 0
    full: int = 0

    def add(self, detections: Detections, in_network: float) -> None:
        """Count the detections in an image or a video frame, and its seconds in the network."""
        self.images, self.in_network = self.images + 1, self.in_network + in_network
        self.boxes.update(detections.names)
        self.full += self.max_objects is not None and len(detections) >= self.max_objects

    def to_text(self) -> str:
        """Return a summary in one line."""
        count = self.images
        if not count:
            return 'no images'
        return (f'{count} images, {counted(self.boxes)}, '
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
    results = Results(detector.max_objects)
    start = time.perf_counter()
    try:
        with (CocoFile(out / RESULTS, detector.classes) as file,
              progress(total=_total(sources), desc='predict', unit=' images', bar_format=BAR) as bar):
            file.left_out = results.failed
            chosen = detector.threshold if threshold is None else threshold
            prediction = _Prediction(detector, out if draws else None, chosen, results, file, bar, watchers)
            prediction.images([source for source in sources if not source.is_video])
            for source in (source for source in sources if source.is_video):
                with _noted(results):
                    prediction.video(source)
    except KeyboardInterrupt as error:
        raise Interrupted(f'interrupted; the results of {results.images} images are in {out / RESULTS}') from error
    results.seconds = time.perf_counter() - start
    return results


@dataclass(frozen=True)
class _Image:
    """An image or a video frame after the network.

    Args:
        every: all detections in it; None: it cannot be read.
        seconds: in the network.
        trouble: why it cannot be read, or the picture with its boxes cannot be written.
        drawn: RGB pixels of a frame with its boxes; None: nothing is drawn.
    """

    source: Source
    every: Detections | None = None
    seconds: float = 0
    trouble: ImageError | None = None
    drawn: np.ndarray | None = None


@dataclass
class _Prediction:
    """A run: several threads each read, detect and draw, and the caller's thread collects the results in order.

    Args:
        out: the folder for drawn images and videos; None: nothing is drawn.
    """

    detector: Detector
    out: Path | None
    threshold: float | Sequence[float]
    results: Results
    file: CocoFile
    bar: Any
    watchers: Sequence[Watcher]

    def __post_init__(self) -> None:
        engine = self.detector.engine
        self.turns = BoundedSemaphore(engine.requests)
        # While one thread draws boxes, it holds the interpreter's lock and others wait: two more keep the cores busy.
        self.workers = engine.workers + 2 * (self.out is not None and engine.requests > 1)

    def images(self, sources: Iterable[Source]) -> None:
        """Find objects in image files."""
        with closing(self._worked(sources, self._files)) as done:  # at Ctrl-C, the threads stop
            for one in done:
                with _noted(self.results):
                    if one.every is not None:
                        kept = self._add(one)
                        for watcher in self.watchers:
                            watcher(one.source, kept, one.every)
                    if one.trouble is not None:
                        raise one.trouble
                self.bar.update()

    def video(self, source: Source) -> None:
        """Find objects in each frame of a video.

        Raises:
            ImageError: the video cannot be read, or ends too early; the frames read so far are in the results.
        """
        video = cv2.VideoCapture(str(source.file))
        expected, rate = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS) or 25
        count = 0
        with (_writer(self.out and self.out / source.drawn, rate) as write_frame,
              closing(self._worked(_frames(video), partial(self._frames, source))) as done):
            for one in done:
                self._add(one, frame=count)
                if one.drawn is not None:
                    write_frame(one.drawn)
                count += 1
                self.bar.update()
        if not count:
            raise ImageError(f'{source.file} is not a video that can be read')
        if expected - count > max(2, expected // 50):  # the frame count in a file is often slightly wrong
            raise ImageError(f'{source.file}: only {count} of its {expected} frames can be read')

    def _worked(self, items: Iterable[T], work: Callable[[list[T]], list[_Image]]) -> Generator[_Image]:
        groups = grouped(items, self.detector.batch)
        with closing(ordered(groups, work, self.workers)) as done:
            for group in done:
                yield from group

    def _add(self, one: _Image, **more: Any) -> Detections:
        """Add the detections in an image to the results, and return those that are kept."""
        assert one.every is not None
        kept, (height, width) = one.every.above(self.threshold), one.every.size
        self.file.add(dict(file_name=one.source.name, width=width, height=height, path=str(one.source.file), **more),
                      kept.to_coco(0))
        self.results.add(kept, one.seconds)
        return kept

    # ------------------------------------------------------------------------------------------ in one of the threads

    def _files(self, sources: list[Source]) -> list[_Image]:
        prepared = {source: self._prepared(source.file) for source in sources}
        good = {source: image for source, image in prepared.items() if not isinstance(image, ImageError)}
        found, seconds = self._run(list(good.values()))
        every = dict(zip(good, found))
        return [_Image(source, every[source], seconds, self._draw(source, every[source])) if source in every else
                _Image(source, trouble=prepared[source]) for source in sources]

    def _frames(self, source: Source, frames: list[np.ndarray]) -> list[_Image]:
        found, seconds = self._run([self.detector.prepare(frame) for frame in frames])
        return [_Image(source, every, seconds, drawn=None if self.out is None else
                       draw(frame, every.above(self.threshold).drawable)) for frame, every in zip(frames, found)]

    def _prepared(self, file: Path) -> Any:
        """Return an image as `Detector.prepare` does, or the error."""
        try:
            return self.detector.prepare(file)
        except ImageError as error:
            return error

    def _run(self, images: list) -> tuple[list[Detections], float]:
        """Return the detections in prepared images, and the seconds in the network for each."""
        with self.turns:
            start = time.perf_counter()
            found = self.detector.run(images)
            return found, (time.perf_counter() - start) / max(1, len(images))

    def _draw(self, source: Source, every: Detections) -> ImageError | None:
        """Draw the boxes that are kept. Return the error if the picture cannot be written."""
        if self.out is None:
            return None
        target = self.out / source.drawn
        try:
            pixels = self.detector.pixels(source.file.read_bytes())
            write(draw(pixels, every.above(self.threshold).drawable), target)
        except Exception as error:  # also of decoders, which raise many types
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise
            return error if isinstance(error, ImageError) else ImageError(
                f'{target} cannot be written ({reason(error)})')
        return None


def _frames(video: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while (read := video.read())[0]:
        yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)


@contextmanager
def _writer(file: Path | None, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends an RGB frame to the video `file`; it does nothing if `file` is None."""
    if file is None:
        yield lambda *_: None
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part, writer = file.with_suffix(f'{UNFINISHED}{file.suffix}'), cv2.VideoWriter()

    def write_frame(frame: np.ndarray) -> None:
        if not writer.isOpened() and not writer.open(str(part), cv2.VideoWriter.fourcc(*'mp4v'), rate,
                                                     frame.shape[1::-1]):
            raise UserError(f'the video {file} cannot be written: use --no-pictures to write no images and videos')
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
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
