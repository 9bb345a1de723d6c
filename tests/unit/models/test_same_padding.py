"""GhostNet with TensorFlow's SAME padding: beside a plain formula, and in all that is done with a GhostNet."""
from itertools import product

import pytest
import torch
from torch import nn

from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.blocks import SameConv2d, conv_norm
from ghostdet.models.ghostify import ghostify
from ghostdet.training.counting import count
from tests.closed_form import filled, image
from tests.unit.models.test_ghostnet import ALL, after_training_steps, assert_close, saved_bytes

SIZES = [*range(1, 10), 16, 17]


def zeros(size, kernel, stride):
    """Before and after one side, as TensorFlow's documentation gives them."""
    needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return needed // 2, needed - needed // 2


def same(x, conv):
    """The convolution with SAME padding."""
    (height, width), stride = conv.kernel_size, conv.stride[0]
    padded = nn.functional.pad(x, (*zeros(x.shape[3], width, stride), *zeros(x.shape[2], height, stride)))
    return nn.functional.conv2d(padded, conv.weight, conv.bias, stride, groups=conv.groups)


@pytest.mark.parametrize(('kernel', 'stride', 'groups'),
                         [(1, 1, 1), (3, 1, 4), (5, 1, 4), (3, 2, 1), (3, 2, 4), (5, 2, 4)])
def test_padding_is_that_of_a_plain_formula(kernel, stride, groups):
    """Each kernel and stride of a GhostNet, on even and odd heights and widths."""
    conv = conv_norm(4, 8, kernel, dict(type='BN'), stride, groups, padding='tensorflow')[0].double()
    for height, width in product(SIZES, SIZES):
        x = image(height, width).expand(1, 3, -1, -1)[:, [0, 1, 2, 0]]
        found, expected = conv(x), same(x, conv)
        assert found.shape == (1, 8, -(-height // stride), -(-width // stride))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def convolutions_by_formula(model):
    """The model with every convolution computed by the formula above."""
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d):
            conv.forward = lambda x, conv=conv: same(x, conv)
    return model


@pytest.mark.parametrize('size', [(64, 96), (33, 47), (66, 61)])
def test_the_whole_network_is_that_of_the_formula(size):
    found = filled(GhostNet(0.5, padding='tensorflow', out_indices=ALL))(image(*size))
    expected = convolutions_by_formula(filled(GhostNet(0.5, out_indices=ALL)))(image(*size))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_it_differs_from_the_other_padding_on_even_sides_alone():
    nets = [filled(GhostNet(0.5, padding=padding)) for padding in ('torch', 'tensorflow')]
    odd, other = (net(image(65, 97)) for net in nets)  # 33, 17, 9, 5 and 3 rows
    torch.testing.assert_close(odd, other, rtol=1e-12, atol=1e-12)
    even, other = (net(image(64, 96)) for net in nets)
    assert all((a - b).abs().max() > 1e-6 * a.abs().max() for a, b in zip(even, other))


def test_names_and_initial_weights_are_those_of_the_other_padding():
    states = []
    for padding in ('torch', 'tensorflow'):
        torch.manual_seed(0)
        net = GhostNet(0.5, padding=padding)
        net.init_weights()
        states.append(net.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_a_wrong_padding_is_named():
    with pytest.raises(ValueError,
                       match=r"GhostNet: padding='same' is not allowed; it must be 'torch' or 'tensorflow'"):
        GhostNet(padding='same')


@pytest.mark.parametrize('with_cp', ['cheap', True])
def test_recomputing_changes_no_gradient_and_saves_as_much(with_cp):
    (plain, buffers), (found, others) = (after_training_steps(cp, padding='tensorflow') for cp in (False, with_cp))
    assert_close(found, plain, 1e-9)
    assert_close(others, buffers, 1e-12)
    x = torch.rand(2, 3, 96, 96)
    kept, usual = (saved_bytes(GhostNet(0.5, padding=padding, with_cp=with_cp).train(), x)
                   for padding in ('tensorflow', 'torch'))
    assert kept < 1.05 * usual


def test_it_costs_what_the_other_padding_costs():
    x = torch.empty(1, 3, 64, 64, device='meta')
    counts = [count(GhostNet(0.5, padding=padding).to('meta'), x) for padding in ('torch', 'tensorflow')]
    assert counts[0] == counts[1]
    assert counts[0].macs > 0


def test_ghostify_leaves_its_strided_convolutions_alone():
    net = GhostNet(0.5, padding='tensorflow')
    ghosted = ghostify(net)
    assert ghosted.left_alone['conv_stem'] == 'it is a SameConv2d, which does more than a Conv2d'
    assert any(one.name == 'blocks.1.0.shortcut.2' for one in ghosted.replaced)
    assert sum(isinstance(module, SameConv2d) for module in net.modules()) == 9
    assert [feature.shape[2:] for feature in net(torch.rand(1, 3, 64, 64))] == [(16, 16), (8, 8), (4, 4), (2, 2)]
