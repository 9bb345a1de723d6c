"""Compare the image loading speed of mmdet's and ghostdet's pipelines on one core, and the detector's own speed."""
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from PIL import Image
from torch import nn

from benchmarks.timing import race, spent_by_processor
from ghostdet.data.loading import own_pipeline
from ghostdet.errors import UserError
from ghostdet.images.listing import image_files, suffixes
from ghostdet.images.opencv import cv2
from ghostdet.tables import aligned_table, markdown_table
from ghostdet.training.build import random_detector
from ghostdet.training.config_file import read_config

QUALITY = 92  # of generated JPEGs: about 160 KB at 640x480, close to COCO's
SLOPE = 1.2  # of generated images: amplitudes fall with this power of the frequency, as in photographs
HEADER = ('scale', 'pipeline', 'mmdet, images/s', 'ghostdet, images/s', 'ratio, by pairs', 'detector, images/s')


@dataclass(frozen=True)
class PipelineSpeed:
    """The speed of one pipeline at one scale, in images per second of processor time.

    Attributes:
        scale: width and height that images must fit into, in pixels.
        shipped: mmdet's pipeline.
        own: ghostdet's pipeline; values with the same index in `shipped` and `own` are a pair.
        detector: a whole prediction on an image from this pipeline; empty: not measured.
    """

    scale: tuple[int, int]
    name: str
    shipped: tuple[float, ...]
    own: tuple[float, ...]
    detector: tuple[float, ...] = ()

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times faster than mmdet's pipeline, pair by pair."""
        return tuple(own / shipped for own, shipped in zip(self.own, self.shipped))

    def cells(self) -> tuple[str, ...]:
        """Return the cells of its line in the table."""
        width, height = self.scale
        return (f'{width}x{height}', self.name, _quartiles(self.shipped, 0), _quartiles(self.own, 0),
                _quartiles(self.ratios, 2), _quartiles(self.detector, 2))


@dataclass(frozen=True)
class LoadingSpeed:
    """A table of the pipelines of one config."""

    counts: str
    rows: tuple[PipelineSpeed, ...]

    def to_text(self) -> str:
        """Return an aligned table for a terminal: medians, with minimum and maximum in brackets."""
        return f'{self.counts}\n{aligned_table([HEADER, *(row.cells() for row in self.rows)], left=None)}'

    def to_markdown(self) -> str:
        """Return the same table as Markdown."""
        return '\n\n'.join([self.counts, markdown_table([HEADER, *(row.cells() for row in self.rows)])]) + '\n'


def _quartiles(values: tuple[float, ...], digits: int) -> str:
    if not values:
        return '-'
    return f'{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})'


def in_turn(jobs: Sequence[Callable[[], object]], rounds: int) -> list[tuple[float, ...]]:
    """Return each job's processor time in every round, in seconds; a first untimed round warms up."""
    for job in jobs:
        job()
    return list(zip(*race(jobs, rounds, spent_by_processor, warm=False)))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit OpenCV and PyTorch to one thread, as in a data loader's worker."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def images_in(folder: Path) -> list[Path]:
    """Return all images in a folder and its subfolders.

    Raises:
        UserError: there are none.
    """
    files = image_files(folder)
    if not files:
        raise UserError(f'there are no images ({", ".join(suffixes())}) in {folder.absolute()}: choose a folder with '
                        'images')
    return files


def describe(files: Sequence[Path]) -> str:
    """Return one line: the number of images, their median width and height, and the mean file size."""
    sizes = []
    for file in files:
        with Image.open(file) as image:
            sizes.append(image.size)
    width, height = np.median(sizes, 0).astype(int)
    size = mean(file.stat().st_size for file in files) / 1e3
    return f'{len(files)} images of {width}x{height} (medians), {size:.0f} KB each'


def made_up(folder: Path, count: int, size: tuple[int, int] = (640, 480), seed: int = 0) -> list[Path]:
    """Write `count` generated JPEGs of `size` (width, height) in pixels, about as slow to decode as photographs."""
    random = np.random.default_rng(seed)
    files = [folder / f'{number:06d}.jpg' for number in range(1, count + 1)]
    for file in files:
        Image.fromarray(photo_like(*size, random)).save(file, quality=QUALITY)
    return files


def photo_like(width: int, height: int, random: np.random.Generator) -> np.ndarray:
    """Return noise like photographs' spectra, (height, width, 3) uint8: strong in brightness, weaker in colour."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf  # the mean is added below
    noise = random.normal(size=(2, 4, *frequency.shape))
    planes = np.fft.irfft2((noise[0] + 1j * noise[1]) * frequency ** -SLOPE, s=(height, width))  # (4, H, W)
    planes /= planes.std((1, 2), keepdims=True)
    image = 128 + 45 * planes[0] + 18 * planes[1:]
    return np.clip(image, 0, 255).astype(np.uint8).transpose(1, 2, 0)


# 7 boxes, about as many as an image of COCO has.
BOXES = tuple(dict(bbox=[5 * k, 4 * k, 5 * k + 20, 4 * k + 20], bbox_label=0, ignore_flag=0) for k in range(7))


def measure(file: str, images: Sequence[Path], scales: Sequence[tuple[int, int]], pairs: int) -> LoadingSpeed:
    """Time a config's training and prediction pipelines at every scale, and its untrained detector on one image.

    Args:
        scales: width and height in pixels; they replace the config's scale.
        pairs: how often each pipeline loads all images, and how often the detector runs.

    Raises:
        UserError: the config is missing or invalid.
        DataError: an image cannot be read.
    """
    cfg = read_config(file, {})
    detector = random_detector(cfg, file).model
    splits = (('training', cfg.train_dataloader.dataset), ('prediction', cfg.test_dataloader.dataset))
    with one_thread():
        rows = tuple(_row(name, dataset.pipeline, detector if name == 'prediction' else None, images, scale, pairs)
                     for scale in scales for name, dataset in splits)
    return LoadingSpeed(f'{describe(images)}; {pairs} pairs, processor time of one thread', rows)


def _row(name: str, steps: Sequence[dict], detector: nn.Module | None, images: Sequence[Path], scale: tuple[int, int],
         pairs: int) -> PipelineSpeed:
    steps = [dict(step, scale=scale) if 'scale' in step else step for step in steps]
    own, shipped = Compose(own_pipeline(steps)), Compose(steps)
    seconds = in_turn([_load(pipeline, images) for pipeline in (shipped, own)], pairs)
    mmdets, ours = (tuple(len(images) / value for value in values) for values in seconds)
    predicted: tuple[float, ...] = ()
    if detector is not None:
        (seconds_each,) = in_turn([_predict(detector, own(_record(images[0])))], pairs)
        predicted = tuple(1 / value for value in seconds_each)
    return PipelineSpeed(scale, name, mmdets, ours, predicted)


def _load(pipeline: Compose, images: Sequence[Path]) -> Callable[[], None]:
    def job() -> None:
        np.random.seed(0)  # both pipelines flip the same images
        for image in images:
            pipeline(_record(image))
    return job


def _predict(detector: nn.Module, loaded: dict) -> Callable[[], Any]:
    def job() -> Any:
        with torch.no_grad():
            return detector.test_step({key: [value] for key, value in loaded.items()})
    return job


def _record(image: Path) -> dict:
    """Return an image's record as a data set passes it to a pipeline."""
    return dict(img_path=str(image), img_id=0, instances=list(BOXES))
