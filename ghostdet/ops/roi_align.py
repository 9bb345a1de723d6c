"""RoIAlign (arXiv 1703.06870): average pooling by torchvision; maximum pooling, which it does not have, by torch."""
from collections.abc import Iterator

import torch
from torch import Tensor

from ghostdet.ops.precision import at_least_float32
from ghostdet.ops.vision import OPERATORS

MAXIMUM = 0  # value of pool_mode; 1 means average


def roi_align_forward(input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, *,
                      aligned_height: int,
                      aligned_width: int, spatial_scale: float, sampling_ratio: int, pool_mode: int,
                      aligned: bool) -> None:
    """Pool each region's features into bins, from bilinear samples.

    Args:
        input: features, (N, C, H, W).
        rois: (R, 5), image index and x1 y1 x2 y2 in image pixels.
        output: (R, C, aligned_height, aligned_width), written.
        argmax_y: same shape as `output`, written for maxima: y of the largest sample, in pixels of `input`; -1 if there
            is no sample.
        argmax_x: the same for x.
        spatial_scale: size of `input` divided by the size of the image.
        sampling_ratio: samples per bin in each direction; 0 takes about one per pixel of `input`.
        pool_mode: 0 for the maximum of the samples, 1 for their mean.
        aligned: whether pixel centres have coordinates that end in .5 (as 0.5, 1.5).
    """
    size = (aligned_height, aligned_width)
    if pool_mode == MAXIMUM:
        samples = _Samples(rois, size, spatial_scale, sampling_ratio, aligned)
        _pool_maximum(input, samples, output, argmax_y, argmax_x)
    else:
        # Not torchvision.ops.roi_align: it needs a compiler if only deterministic algorithms are allowed.
        output.copy_(OPERATORS.roi_align(at_least_float32(input), at_least_float32(rois), spatial_scale, *size,
                                         sampling_ratio, aligned))


def roi_align_backward(grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor, *,
                       aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
                       pool_mode: int, aligned: bool) -> None:
    """Write the gradient of the features into `grad_input`, (N, C, H, W), which must hold zeros."""
    size = (aligned_height, aligned_width)
    if pool_mode == MAXIMUM:
        _spread_maximum(grad_output, rois[:, 0].long(), argmax_y, argmax_x, grad_input)
    else:
        grad_input.copy_(OPERATORS._roi_align_backward(
            at_least_float32(grad_output), at_least_float32(rois), spatial_scale, *size, *grad_input.shape,
            sampling_ratio, aligned))


class _Samples:
    """Positions of the samples in the bins of all regions."""

    def __init__(self, rois: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool) -> None:
        corners = rois[:, 1:] * scale - (0.5 if aligned else 0)
        extent = corners[:, 2:] - corners[:, :2]
        self.image = rois[:, 0].long()
        self.start = corners[:, [1, 0]]                                                   # (R, 2): y, x
        self.bins = (extent if aligned else extent.clamp(min=1))[:, [1, 0]] / extent.new_tensor(size)
        self.counts = torch.full_like(self.bins, ratio) if ratio > 0 else self.bins.ceil()  # (R, 2)
        self.size = size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield rows and columns of one sample in each bin, (R, bins) each, and which regions have it, (R,)."""
        rows, columns = self.counts.amax(0).int().tolist() if len(self.counts) else (0, 0)
        for row in range(rows):
            for column in range(columns):
                inside = (row < self.counts[:, 0]) & (column < self.counts[:, 1])
                yield self._along(0, row), self._along(1, column), inside

    def _along(self, axis: int, step: int) -> Tensor:
        """Return the coordinates of sample number `step` in each bin, (R, bins)."""
        width, count = self.bins[:, axis, None], self.counts[:, axis, None]
        numbers = torch.arange(self.size[axis], device=width.device)
        return self.start[:, axis, None] + numbers * width + (step + 0.5) * width / count


def _pool_maximum(input: Tensor, samples: _Samples, output: Tensor, argmax_y: Tensor, argmax_x: Tensor) -> None:
    channels_last = input.permute(0, 2, 3, 1)
    image = samples.image[:, None, None]
    best = torch.full_like(output.permute(0, 2, 3, 1), -torch.inf)
    where_y, where_x = torch.full_like(best, -1), torch.full_like(best, -1)
    for y, x, inside in samples:
        y, x = y[:, :, None], x[:, None, :]
        value = sum(weight[..., None] * channels_last[image, row, column]                 # (R, bins, bins, C)
                    for row, column, weight in _corners(y, x, *input.shape[2:]))
        larger = ((value > best) | value.isnan()) & inside[:, None, None, None]
        for kept, new in ((best, value), (where_y, y[..., None]), (where_x, x[..., None])):
            kept.copy_(torch.where(larger, new, kept))
    best[best == -torch.inf] = 0  # a region without area has no sample
    for target, values in ((output, best), (argmax_y, where_y), (argmax_x, where_x)):
        target.copy_(values.permute(0, 3, 1, 2))


def _spread_maximum(grad_output: Tensor, image: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor) -> None:
    """Add the gradient of each largest sample to the four pixels that it was interpolated from."""
    found = argmax_y != -1
    region, channel = found.nonzero(as_tuple=True)[:2]
    for row, column, weight in _corners(argmax_y[found], argmax_x[found], *grad_input.shape[2:]):
        grad_input.index_put_((image[region], channel, row, column), weight * grad_output[found], accumulate=True)


def _corners(y: Tensor, x: Tensor, height: int, width: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return (row, column, weight) for each of the four pixels around the points.

    All weights of a point are 0 if it is more than one pixel outside the map. Closer points are moved to the border.
    """
    outside = (y < -1) | (y > height) | (x < -1) | (x > width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.long(), x.long()
    down, right = y - top, x - left
    bottom, end = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    return [(row, column, (weight_y * weight_x).masked_fill(outside, 0))
            for row, weight_y in ((top, 1 - down), (bottom, down))
            for column, weight_x in ((left, 1 - right), (end, right))]
