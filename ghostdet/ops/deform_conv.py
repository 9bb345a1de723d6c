"""Deformable convolution (arXiv 1703.06211) and its modulated form (1811.11168), by torchvision's operator.

The functions take the arguments with which mmcv calls its compiled functions.
"""
from typing import Any

import torch
from torch import Tensor

from ghostdet.ops.precision import at_least_float32
from ghostdet.ops.vision import OPERATORS, torchvision


def deform_conv_forward(input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor,
                        **geometry: int) -> None:
    """Convolve at points shifted by `offset`.

    Args:
        input: (N, C_in, H, W).
        weight: (C_out, C_in / groups, kH, kW).
        offset: (N, 2 * deformable groups * kH * kW, H_out, W_out): dy, dx of each kernel point, in pixels.
        output: (N, C_out, H_out, W_out), written.
        columns: not used.
        ones: not used.
        geometry: kW, kH, dW, dH (stride), padW, padH, dilationW, dilationH, group, deformable_group, im2col_step.
    """
    input, offset, weight = map(at_least_float32, (input, offset, weight))
    output.copy_(torchvision.ops.deform_conv2d(input, offset, weight, **_pairs(**geometry)))


def deform_conv_backward_input(input: Tensor, offset: Tensor, grad_output: Tensor, grad_input: Tensor,
                               grad_offset: Tensor, weight: Tensor, columns: Tensor, **geometry: int) -> None:
    """Write the gradients of features and offsets into `grad_input` and `grad_offset`."""
    by_input, _, by_offset, _, _ = _gradients(grad_output, input, weight, offset, None, **geometry)
    grad_input.copy_(by_input)
    grad_offset.copy_(by_offset)


def deform_conv_backward_parameters(input: Tensor, offset: Tensor, grad_output: Tensor, grad_weight: Tensor,
                                    columns: Tensor, ones: Tensor, *, scale: float, **geometry: int) -> None:
    """Add the gradient of the weight, times `scale`, to `grad_weight`."""
    # The weight's values do not affect this gradient, so zeros will do.
    grad_weight.add_(_gradients(grad_output, input, torch.zeros_like(grad_weight), offset, None, **geometry)[1],
                     alpha=scale)


def modulated_deform_conv_forward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor,
                                  mask: Tensor,
                                  output: Tensor, columns: Tensor, *, with_bias: bool, **geometry: int) -> None:
    """Convolve at points shifted by `offset` and weighted by `mask`.

    The other arguments are as in `deform_conv_forward`.

    Args:
        bias: (C_out,), used only if `with_bias`.
        mask: (N, deformable groups * kH * kW, H_out, W_out).
    """
    input, offset, weight, mask = map(at_least_float32, (input, offset, weight, mask))
    added = at_least_float32(bias) if with_bias else None
    output.copy_(torchvision.ops.deform_conv2d(input, offset, weight, added, mask=mask, **_pairs(**geometry)))


def modulated_deform_conv_backward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor,
                                   mask: Tensor,
                                   columns: Tensor, grad_input: Tensor, grad_weight: Tensor, grad_bias: Tensor,
                                   grad_offset: Tensor, grad_mask: Tensor, grad_output: Tensor, *, with_bias: bool,
                                   **geometry: int) -> None:
    """Write the gradients of all inputs of `modulated_deform_conv_forward` (the bias only if `with_bias`)."""
    found = _gradients(grad_output, input, weight, offset, mask, **geometry)
    for target, gradient in zip((grad_input, grad_weight, grad_offset, grad_mask), found):
        target.copy_(gradient)
    if with_bias:
        grad_bias.copy_(found[-1])


def _gradients(grad_output: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, *, group: int,
               deformable_group: int, **geometry: int) -> tuple[Tensor, ...]:
    """Return the gradients of features, weight, offset, mask and bias."""
    sizes = _pairs(**geometry)
    modulation = input.new_zeros(len(input), 1) if mask is None else mask
    tensors = map(at_least_float32, (grad_output, input, weight, offset, modulation, input.new_zeros(weight.size(0))))
    return OPERATORS._deform_conv2d_backward(*tensors, *sizes['stride'], *sizes['padding'], *sizes['dilation'], group,
                                             deformable_group, mask is not None)


def _pairs(**geometry: int) -> dict[str, Any]:
    """Return stride, padding and dilation for torchvision, from mmcv's names in the plain or the modulated operator.

    torchvision finds the numbers of groups from the shapes.
    """
    names = dict(stride=('dH', 'dW', 'stride_h', 'stride_w'), padding=('padH', 'padW', 'pad_h', 'pad_w'),
                 dilation=('dilationH', 'dilationW', 'dilation_h', 'dilation_w'))
    return {key: tuple(geometry[name] for name in four if name in geometry) for key, four in names.items()}
