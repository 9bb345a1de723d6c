"""RoIPool (arXiv 1504.08083) with the bins of mmcv.

torchvision's `roi_pool` first rounds a region to whole pixels. mmcv's does not, so the bins differ.
"""
import torch
from torch import Tensor


def roi_pool_forward(input: Tensor, rois: Tensor, output: Tensor, argmax: Tensor, *, pooled_height: int,
                     pooled_width: int, spatial_scale: float) -> None:
    """Pool each region's features into bins, by maximum.

    Args:
        input: features, (N, C, H, W).
        rois: (R, 5), image index and x1 y1 x2 y2 in image pixels; the pixels x2 and y2 belong to the region.
        output: (R, C, pooled_height, pooled_width), written; 0 if a bin holds no pixel.
        argmax: same shape, int32, written: index of the largest pixel, row * W + column; -1 if a bin holds no pixel.
        spatial_scale: size of `input` divided by the size of the image.
    """
    height, width = input.shape[2:]
    start = rois[:, 1:3] * spatial_scale
    extent = (rois[:, 3:5] + 1) * spatial_scale - start
    first_x, last_x = _bins(start[:, 0], extent[:, 0], pooled_width, width)                # each (R, bins)
    first_y, last_y = _bins(start[:, 1], extent[:, 1], pooled_height, height)
    proper = (extent > 0).all(1)[:, None, None]
    channels_last, image = input.permute(0, 2, 3, 1), rois[:, 0].long()[:, None, None]
    best = torch.full_like(output.permute(0, 2, 3, 1), -torch.inf)
    which = torch.full_like(best, -1, dtype=argmax.dtype)
    for down in range(_longest(first_y, last_y)):
        for right in range(_longest(first_x, last_x)):
            y, x = (first_y + down)[:, :, None], (first_x + right)[:, None, :]
            inside = (y < last_y[:, :, None]) & (x < last_x[:, None, :]) & proper           # (R, bins, bins)
            y, x = y.clamp(max=height - 1), x.clamp(max=width - 1)
            value = channels_last[image, y, x]                                              # (R, bins, bins, C)
            larger = ((value > best) | value.isnan()) & inside[..., None]
            best = torch.where(larger, value, best)
            which = torch.where(larger, (y * width + x)[..., None], which)
    output.copy_(best.masked_fill(which < 0, 0).permute(0, 3, 1, 2))
    argmax.copy_(which.permute(0, 3, 1, 2))


def roi_pool_backward(grad_output: Tensor, rois: Tensor, argmax: Tensor, grad_input: Tensor, *, pooled_height: int,
                      pooled_width: int, spatial_scale: float) -> None:
    """Add the gradient of the features to `grad_input`, (N, C, H, W)."""
    found = argmax >= 0
    region, channel = found.nonzero(as_tuple=True)[:2]
    grad_input.flatten(2).index_put_((rois[region, 0].long(), channel, argmax[found].long()), grad_output[found],
                                     accumulate=True)


def _bins(start: Tensor, extent: Tensor, count: int, limit: int) -> tuple[Tensor, Tensor]:
    """Return the first pixel of each bin and the pixel after its last, limited to the map; (R, count) each."""
    edges = torch.arange(count + 1, device=start.device) * (extent / count)[:, None] + start[:, None]
    return edges[:, :-1].floor().long().clamp(0, limit), edges[:, 1:].ceil().long().clamp(0, limit)


def _longest(first: Tensor, last: Tensor) -> int:
    return int((last - first).max()) if len(first) else 0
