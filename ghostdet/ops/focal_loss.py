"""Focal loss (arXiv 1708.02002) for sigmoid and softmax, with gradients in closed form."""
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ghostdet.ops.precision import at_least_float32

TINY = torch.finfo(torch.float32).tiny


def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float,
                               alpha: float) -> None:
    """Compute the focal loss of every class on its own (sigmoid).

    Args:
        input: logits, (N, C).
        target: (N,), the class of each row. Every value outside 0..C-1 is background.
        weight: (C,), weight of each row by its target class, or (0,) for no weights. A background row has weight 1.
        output: (N, C), written.
        gamma: how strongly the loss of well-classified entries is reduced.
        alpha: balance factor of the target class; other classes have 1 - alpha.
    """
    right = _is_target(input, target)
    logit = _signed(input, right)
    loss = torch.sigmoid(-logit).pow_(gamma).mul_(logsigmoid(logit)).mul_(_balance(logit, right, alpha))
    output.copy_(_weighted(loss, target, weight))


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, *, gamma: float,
                                alpha: float) -> None:
    """Write the derivative of `sigmoid_focal_loss_forward` by the logits into `grad_input`, (N, C)."""
    right = _is_target(input, target)
    logit = _signed(input, right)
    wrong = torch.sigmoid(-logit)
    slope = logsigmoid(logit).mul_(torch.sigmoid(logit)).mul_(-gamma).add_(wrong).mul_(wrong.pow_(gamma))
    # for other classes, `logit` is minus the input
    slope.mul_(_balance(logit, right, alpha)).mul_(torch.where(right, 1, -1))
    grad_input.copy_(_weighted(slope, target, weight))


def softmax_focal_loss_forward(softmax: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float,
                               alpha: float) -> None:
    """Compute the focal loss of one class out of many (softmax).

    Args:
        softmax: probabilities, (N, C).
        target: (N,), the class of each row. Every value outside 0..C-1 is ignored.
        weight: (C,), weight of each row by its target class, or (0,) for no weights.
        output: (N,), written.
        gamma: how strongly the loss of well-classified entries is reduced.
        alpha: factor of the loss.
    """
    right = _probability_of(softmax, target)
    loss = (1 - right).pow_(gamma).mul_(right.clamp(min=TINY).log_()).mul_(-alpha)
    output.copy_(_weighted(loss, target, weight).masked_fill_(~_is_class(target, softmax), 0))


def softmax_focal_loss_backward(softmax: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, *,
                                gamma: float, alpha: float) -> None:
    """Write the derivative of `softmax_focal_loss_forward` by the logits into `grad_input`, (N, C).

    Also write `buff`, (N,): the derivative by the logarithm of the target's probability.
    """
    right = _probability_of(softmax, target)
    wrong = (1 - right).clamp_(min=TINY)  # avoids 0 to a negative power
    slope = gamma * wrong.pow(gamma - 1) * right * right.clamp(min=TINY).log_() - wrong.pow(gamma)
    buff.copy_(_weighted(alpha * slope, target, weight).masked_fill_(~_is_class(target, softmax), 0))
    grad_input.copy_(buff[:, None] * (_is_target(softmax, target).to(softmax.dtype) - softmax))


def _is_target(values: Tensor, target: Tensor) -> Tensor:
    """Return a mask (N, C): true at each row's class."""
    return target[:, None] == torch.arange(values.size(1), device=target.device)


def _signed(input: Tensor, right: Tensor) -> Tensor:
    """Return the logits of target classes and minus the logits of the others, in at least float32."""
    logits = at_least_float32(input)
    return torch.where(right, logits, -logits)


def _balance(logit: Tensor, right: Tensor, alpha: float) -> Tensor:
    """Return the (negative) factor of each entry's loss."""
    return torch.where(right, logit.new_tensor(-alpha), logit.new_tensor(alpha - 1))


def _is_class(target: Tensor, values: Tensor) -> Tensor:
    return (target >= 0) & (target < values.size(1))


def _probability_of(softmax: Tensor, target: Tensor) -> Tensor:
    """Return the probability of each row's class, (N,), in at least float32.

    A target outside 0..C-1 gets the value of the nearest class; callers mask it.
    """
    return at_least_float32(softmax.gather(1, target.clamp(0, softmax.size(1) - 1)[:, None])[:, 0])


def _weighted(loss: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Multiply `loss`, (N,) or (N, C), by the weight of each row's target."""
    if not weight.numel():
        return loss
    rows = torch.where((target >= 0) & (target < len(weight)), target, len(weight))
    of_rows = torch.cat([weight, weight.new_ones(1)])[rows]
    return loss * of_rows.view(-1, *[1] * (loss.dim() - 1))
