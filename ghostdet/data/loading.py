"""Pipeline transforms that load images: they refuse incomplete files and decode large JPEGs at a reduced size.

Configs name mmdet's own transforms, so that mmdet's tools can use them. The plan of a run replaces them by
`own_reading`.
"""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmdet.datasets.transforms import PackDetInputs, Resize
from mmdet.registry import TRANSFORMS
from mmengine import fileio

from ghostdet.images.decode import check_whole, decode, naming
from ghostdet.images.opencv import cv2
from ghostdet.images.resize import rescaled

# OpenCV's flip codes, by the axes of the array.
FLIPS = {(0,): 0, (1,): 1, (0, 1): -1}
IGNORING = '_ignore_orientation'  # ending of mmcv's `color_type` for pixels as they lie in the file
LOADING = ('LoadImageFromFile', 'LoadWholeImage', 'ReadImage')  # transforms that load an image
COLOURS = ('color', 'color' + IGNORING)


@TRANSFORMS.register_module()
class LoadWholeImage(LoadImageFromFile):
    """Load an image as mmcv's `LoadImageFromFile` does, by the rules of `ghostdet.images.decode`.

    For a file that was cut off, OpenCV returns an image whose rest is grey. A run would learn from it. Only the usual
    colours (`color_type` 'color' or 'color_ignore_orientation') follow the rules for orientation and for more than 8
    bits.

    Args:
        bits: depth of images of more than 8 bits, as in `ghostdet.images.decode.eight_bits`.
        kwargs: arguments of mmcv's `LoadImageFromFile`.

    Raises:
        DataError: the file is missing, cannot be decoded or is cut off; the message names it.
    """

    def __init__(self, *args: Any, bits: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bits = bits

    def transform(self, results: dict) -> dict | None:
        """Add `img` of shape (H, W, 3), `img_shape` and `ori_shape` to `results`."""
        with naming(results['img_path']) as file:
            content = _read_whole(file, self.backend_args)
            if self.color_type not in COLOURS:
                return super().transform(results)
            image, _ = decode(content, upright=is_upright(self.color_type), bits=self.bits)
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class ReadImage(BaseTransform):
    """Read an image file and check that it is complete. `DecodeAndResize` decodes it later.

    Transforms between the two have no image. Transforms of boxes do not need one.

    Args:
        backend_args: storage of the files, as in mmcv's `LoadImageFromFile`.
        color_type: 'color', or 'color_ignore_orientation' for pixels as they lie in the file.
        bits: depth of images of more than 8 bits, as in `ghostdet.images.decode.eight_bits`.

    Raises:
        DataError: the file is missing or cut off; the message names it.
    """

    def __init__(self, backend_args: dict | None = None, color_type: str = 'color', bits: int | None = None) -> None:
        self.backend_args, self.upright, self.bits = backend_args, is_upright(color_type), bits

    def transform(self, results: dict) -> dict:
        """Add `content`, the bytes of the file, to `results`; and `upright`, whether to apply the EXIF orientation; and
        `bits`.
        """
        with naming(results['img_path']) as file:
            results['content'] = _read_whole(file, self.backend_args)
        results['upright'], results['bits'] = self.upright, self.bits
        return results


@TRANSFORMS.register_module()
class DecodeAndResize(Resize):
    """Decode the file from `ReadImage` and resize it as mmdet's `Resize` does; large JPEGs are decoded at 1/2, 1/4 or
    1/8 size.

    The reduced size is used only if it is at least as large as the target, and divides the sides of the image exactly.
    So nothing in the image moves. Sizes, boxes and all other `results` are those of the full image. Without reduction,
    pixels equal those of mmdet's `Resize`; docs/evidence/training.md says how close they are with reduction.

    An image that is already decoded is resized by mmdet's code.

    Args:
        scale: (width, height) in pixels: the size to fit into (with `keep_ratio`) or the exact size. Other arguments
            are as in mmdet's `Resize`.

    Raises:
        DataError: the image cannot be decoded; the message names the file.
    """

    def __init__(self, scale: int | tuple[int, int], **kwargs: Any) -> None:
        super().__init__(scale, **kwargs)

    def _resize_img(self, results: dict) -> None:
        if 'content' not in results:
            super()._resize_img(results)
            return
        with naming(results['img_path']):
            content = results.pop('content')
            image, times = decode(content, self._target, results.pop('upright', True), results.pop('bits', None))
            height, width = results['ori_shape'] = tuple(times * side for side in image.shape[:2])
        target = self._target(width, height)
        results['img'] = mmcv.imresize(image, target, interpolation=self.interpolation, backend=self.backend)
        results['img_shape'] = target[::-1]
        results['scale_factor'] = (target[0] / width, target[1] / height)
        results['keep_ratio'] = self.keep_ratio

    def _target(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height of an image after resizing."""
        return rescaled(width, height, self.scale, self.keep_ratio)


@TRANSFORMS.register_module()
class PackPlanes(PackDetInputs):
    """Give the same result as mmdet's `PackDetInputs` in less time: OpenCV splits the channels, not NumPy or
    PyTorch.
    """

    def transform(self, results: dict) -> dict:
        """Return `inputs` of shape (3, H, W) and `data_samples`."""
        if results['img'].ndim == 3:
            # The shape is (H, W, 3), but memory has the order (3, H, W). So mmdet need not copy it.
            results['img'] = _planes(results['img']).transpose(1, 2, 0)
        return super().transform(results)


def own_reading(dataset: dict, bits: int | None = None) -> dict:
    """Return a data set's config in which the transforms of this file replace mmdet's, also within wrappers.

    Args:
        bits: depth of images of more than 8 bits.
    """
    own = dict(dataset)
    if isinstance(own.get('pipeline'), (list, tuple)):
        own['pipeline'] = own_pipeline(own['pipeline'], bits)
    if isinstance(own.get('dataset'), dict):
        own['dataset'] = own_reading(own['dataset'], bits)
    if isinstance(own.get('datasets'), (list, tuple)):
        own['datasets'] = [own_reading(part, bits) if isinstance(part, dict) else part for part in own['datasets']]
    return own


def own_pipeline(steps: Sequence[dict], bits: int | None = None) -> list[dict]:
    """Return a pipeline's steps, with the transforms of this file in place of mmdet's.

    `ReadImage` and `DecodeAndResize` replace a pair that loads and resizes with nothing but boxes in between; else
    `LoadWholeImage` replaces the loader alone. Steps that are built already stay as they are.
    """
    own = [dict(step) if isinstance(step, dict) else step for step in steps]
    kinds = [_kind(step['type']) if isinstance(step, dict) else '' for step in own]
    for index, kind in enumerate(kinds):
        if kind == 'PackDetInputs':
            own[index]['type'] = 'mmdet.PackPlanes'
        elif kind == 'LoadImageFromFile':
            own[index]['type'] = 'mmdet.LoadWholeImage'
            after = next((later for later in range(index + 1, len(kinds))
                          if not _loads_boxes(kinds[later], own[later])), -1)
            if kinds[after] == 'Resize' and own[after].get('scale') and _is_usual(own[index]):
                own[index]['type'], own[after]['type'] = 'mmdet.ReadImage', 'mmdet.DecodeAndResize'
        if bits is not None and kind in LOADING:
            own[index]['bits'] = bits
    return own


def _is_usual(loader: dict) -> bool:
    known = {'type', 'backend_args', 'color_type', 'bits'}
    return loader.keys() <= known and loader.get('color_type', 'color') in COLOURS


def is_upright(color_type: str) -> bool:
    """Return whether a loader with this `color_type` of mmcv applies the EXIF orientation."""
    return not color_type.endswith(IGNORING)


def _loads_boxes(kind: str, step: Any) -> bool:
    """Return whether a step loads annotations that need no image. Masks need its size."""
    return kind == 'LoadAnnotations' and not any(step.get(key) for key in ('with_mask', 'with_seg'))


def _kind(transform: str | type) -> str:
    """Return the name of a transform in a config, without `mmdet.`.

    A config names it as text or as a class. Any text is returned. A class that is not of mmdet or mmcv gives an empty
    string.
    """
    if isinstance(transform, str):
        return transform.removeprefix('mmdet.')
    return transform.__name__ if transform.__module__.startswith(('mmcv.', 'mmdet.')) else ''


def _planes(image: np.ndarray) -> np.ndarray:
    """Return (H, W, C) as contiguous (C, H, W)."""
    flipped = tuple(axis for axis in (0, 1) if image.strides[axis] < 0)
    image = np.flip(image, flipped)  # undo mmdet's flip, which is only a view: NumPy copies such views slowly
    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(image, list(planes))
    if flipped:
        for plane in planes:
            cv2.flip(plane, FLIPS[flipped], plane)
    return planes


def _read_whole(file: str | Path, backend_args: dict | None) -> bytes:
    content = fileio.get(file, backend_args=backend_args)
    check_whole(content)
    return content
