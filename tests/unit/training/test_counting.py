"""Counting, against arithmetic by hand."""
import pytest
import torch
from torch import nn

from ghostdet.errors import UserError
from ghostdet.training.counting import Count, count


def small():
    return nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(),
                         nn.Linear(6 * 4 * 5, 7, bias=False))


def test_a_small_network_is_what_arithmetic_says():
    # 8x10 in, stride 2: 4x5 out, 6 channels, each value from 3 x 3 x (4 / 2) inputs; then 120 values to 7.
    macs = 6 * 4 * 5 * (3 * 3 * 2) + 120 * 7
    # Weights and biases of the convolution, of the norm, weights of the linear layer.
    parameters = (6 * 2 * 3 * 3 + 6) + (6 + 6) + 120 * 7
    assert count(small(), torch.rand(1, 4, 8, 10)) == Count(parameters, macs) == Count(966, 3000)


def test_meta_and_real_agree():
    real = count(small(), torch.rand(2, 4, 8, 10))
    assert count(small().to('meta'), torch.empty(2, 4, 8, 10, device='meta')) == real


def test_a_layer_that_runs_twice_counts_twice_and_leaves_no_hook():
    layer = nn.Linear(3, 5)
    network = nn.Sequential(layer, nn.Linear(5, 3), layer)
    assert count(network, torch.rand(1, 3)) == Count(20 + 18, 15 * 3)
    assert not layer._forward_hooks


def test_weights_that_would_be_left_out_are_refused():
    with pytest.raises(UserError, match=r"layer '0' \(ConvTranspose2d\) cannot be counted"):
        count(nn.Sequential(nn.ConvTranspose2d(3, 3, 2)), torch.rand(1, 3, 4, 4))
