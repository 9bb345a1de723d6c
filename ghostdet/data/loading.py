"""Reading images in a pipeline: whole or not at all, and no more of their pixels than the network will see."""
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmdet.datasets.transforms import PackDetInputs, Resize
from mmdet.registry import TRANSFORMS
from mmengine import fileio

from ghostdet.opencv import cv2
from ghostdet.runtime.images import check_whole, decode, naming

# OpenCV's names of flips along an array's axes.
FLIPS = {(0,): 0, (1,): 1, (0, 1): -1}


@TRANSFORMS.register_module()
class LoadWholeImage(LoadImageFromFile):
    """mmcv's `LoadImageFromFile`, which stops at an image that cannot be decoded to its end.

    OpenCV returns a picture with a grey rest for a file that was cut off, and a run would learn from it.

    Raises:
        DataError: the file is missing, cannot be decoded or is cut off; the message names it.
    """

    def transform(self, results: dict) -> dict | None:
        """Add `img` of shape (H, W, 3), `img_shape` and `ori_shape` to `results`."""
        with naming(results['img_path']) as file:
            _read_whole(file, self.backend_args)
            return super().transform(results)


@TRANSFORMS.register_module()
class ReadImage(BaseTransform):
    """The file of an image, checked as `LoadWholeImage` does and not decoded yet: that is left to `DecodeAndResize`.

    Transforms between the two have no image; those of boxes do not need one.

    Args:
        backend_args: where files are, as in mmcv's `LoadImageFromFile`.

    Raises:
        DataError: the file is missing or cut off; the message names it.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Add `content`, the bytes of the file, to `results`."""
        with naming(results['img_path']) as file:
            results['content'] = _read_whole(file, self.backend_args)
        return results


@TRANSFORMS.register_module()
class DecodeAndResize(Resize):
    """mmdet's `Resize`, which decodes what `ReadImage` read, a large JPEG at a half, a quarter or an eighth of its size.

    It does so where the reduced image is at least as large as what is asked for, and its sides divide the image's, so that
    nothing in the picture moves. Sizes, boxes and all that `results` says are those of the image as it is in the file. Pixels are
    those of mmdet's `Resize` where nothing is reduced; docs/loading.md says how close they are elsewhere.

    An image that is already there as an array is resized as mmdet does.

    Args:
        scale: width and height that the image has to fit into (`keep_ratio`) or gets, in pixels; the rest as in mmdet's `Resize`.

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
            image, times = decode(content, self._target)
            height, width = results['ori_shape'] = tuple(times * side for side in image.shape[:2])
        target = self._target(width, height)
        results['img'] = mmcv.imresize(image, target, interpolation=self.interpolation, backend=self.backend)
        results['img_shape'] = target[::-1]
        results['scale_factor'] = (target[0] / width, target[1] / height)
        results['keep_ratio'] = self.keep_ratio

    def _target(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of an image after resizing."""
        if not self.keep_ratio:
            return self.scale
        width, height = mmcv.rescale_size((width, height), self.scale)
        return max(1, width), max(1, height)  # of an image that is much longer than high, mmcv leaves nothing


@TRANSFORMS.register_module()
class PackPlanes(PackDetInputs):
    """mmdet's `PackDetInputs` with the same result in less time: OpenCV, not NumPy or PyTorch, takes the channels apart."""

    def transform(self, results: dict) -> dict:
        """`inputs` of shape (3, H, W) and `data_samples`."""
        if results['img'].ndim == 3:
            # It looks like (H, W, 3) and lies in memory as (3, H, W), which mmdet then need not copy.
            results['img'] = _planes(results['img']).transpose(1, 2, 0)
        return super().transform(results)


def _planes(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (C, H, W), contiguous."""
    flipped = tuple(axis for axis in (0, 1) if image.strides[axis] < 0)
    image = np.flip(image, flipped)  # mmdet flips by a view, which NumPy copies slowly: this is how it lies in memory
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
