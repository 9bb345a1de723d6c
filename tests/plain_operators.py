"""The operators once more, as loops over boxes, bins and pixels, for comparison."""
import math

import numpy as np

F = np.float32


def iou(a, b, offset):
    """Of two boxes, step by step in float32."""
    width = max(F(0), min(a[2], b[2]) - max(a[0], b[0]) + F(offset))
    height = max(F(0), min(a[3], b[3]) - max(a[1], b[1]) + F(offset))
    shared = width * height
    areas = [(box[2] - box[0] + F(offset)) * (box[3] - box[1] + F(offset)) for box in (a, b)]
    with np.errstate(all='ignore'):
        return shared / (areas[0] + areas[1] - shared)


def nms(boxes, order, threshold, offset):
    kept = []
    for index in order:
        if not any(iou(boxes[better], boxes[index], offset) > F(threshold) for better in kept):
            kept.append(index)
    return kept


def nms_match(boxes, order, threshold):
    groups = []
    for index in order:
        for group in groups:
            if iou(boxes[group[0]], boxes[index], 0) >= F(threshold):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    """Kept indices and their scores; what is dropped is replaced by the last, as in mmcv."""
    left = [[score, index] for index, score in enumerate(scores)]
    kept = []
    while left:
        best = max(range(len(left)), key=lambda i: (left[i][0], -i))
        left[0], left[best] = left[best], left[0]
        score, chosen = left.pop(0)
        kept.append((chosen, score))
        position = 0
        while position < len(left):
            overlap = iou(boxes[chosen], boxes[left[position][1]], offset)
            weight = F(1)
            if method == 'gaussian':
                weight = F(np.exp(-overlap * overlap / F(sigma)))
            elif overlap >= F(threshold):
                weight = F(0) if method == 'naive' else F(1) - overlap
            left[position][0] *= weight
            if left[position][0] < min_score:
                last = left.pop()
                if position < len(left):
                    left[position] = last
            else:
                position += 1
    return kept


def roi_pool(features, rois, size, scale):
    _, channels, height, width = features.shape
    output = np.zeros((len(rois), channels, *size))
    for r, (image, x1, y1, x2, y2) in enumerate(rois):
        edges = {}
        for axis, first, last, bins, limit in (('y', y1, y2, size[0], height), ('x', x1, x2, size[1], width)):
            start, extent = first * scale, (last + 1) * scale - first * scale
            edges[axis] = [(min(max(math.floor(i * (extent / bins) + start), 0), limit),
                            min(max(math.ceil((i + 1) * (extent / bins) + start), 0), limit)) if extent > 0 else (0, 0)
                           for i in range(bins)]
        for i, (top, bottom) in enumerate(edges['y']):
            for j, (left, right) in enumerate(edges['x']):
                if bottom > top and right > left:
                    output[r, :, i, j] = features[int(image), :, top:bottom, left:right].max((1, 2))
    return output


def bilinear(feature, y, x):
    """Value of a map (H, W) between its pixels."""
    height, width = feature.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, along = y - top, x - left
    return ((1 - down) * ((1 - along) * feature[top, left] + along * feature[top, right])
            + down * ((1 - along) * feature[bottom, left] + along * feature[bottom, right]))


def roi_align(features, rois, size, scale, ratio, mode, aligned):
    output = np.zeros((len(rois), features.shape[1], *size))
    shift = 0.5 if aligned else 0
    for r, (image, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (corner * scale - shift for corner in corners)
        extent = [y2 - y1, x2 - x1] if aligned else [max(y2 - y1, 1), max(x2 - x1, 1)]
        bins = [length / count for length, count in zip(extent, size)]
        counts = [ratio or math.ceil(length) for length in bins]
        for c, i, j in np.ndindex(features.shape[1], *size):
            values = [bilinear(features[int(image), c], y1 + i * bins[0] + (a + 0.5) * bins[0] / counts[0],
                               x1 + j * bins[1] + (b + 0.5) * bins[1] / counts[1])
                      for a in range(counts[0]) for b in range(counts[1])]
            if values:
                output[r, c, i, j] = max(values) if mode == 'max' else sum(values) / len(values)
    return output


def deform_conv2d(features, offset, weight, stride, padding, dilation, groups, deform_groups, mask=None):
    images, channels, _, _ = features.shape
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    output = np.zeros((images, out_channels, *offset.shape[2:]))
    for n, o, y, x in np.ndindex(output.shape):
        first = o // (out_channels // groups) * group_channels
        for c, i, j in np.ndindex(group_channels, kernel_h, kernel_w):
            source = first + c
            point = source // (channels // deform_groups) * kernel_h * kernel_w + i * kernel_w + j
            dy, dx = offset[n, 2 * point:2 * point + 2, y, x]
            row, column = y * stride - padding + i * dilation + dy, x * stride - padding + j * dilation + dx
            value = zero_outside(features[n, source], row, column)
            output[n, o, y, x] += weight[o, c, i, j] * value * (1 if mask is None else mask[n, point, y, x])
    return output


def zero_outside(feature, y, x):
    """Value of a map (H, W) between its pixels, where all around it is zero."""
    height, width = feature.shape
    top, left = math.floor(y), math.floor(x)
    return sum((1 - abs(y - row)) * (1 - abs(x - column)) * feature[row, column]
               for row in (top, top + 1) for column in (left, left + 1) if 0 <= row < height and 0 <= column < width)
