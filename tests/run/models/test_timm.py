"""The backbones beside timm's, beside reference outputs that timm gave, and beside published figures."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ghostdet import GhostNetV2, GhostNetV3, RepGhostNet
from ghostdet.deploy import fold
from tests.closed_form import filled, golden, image, nine
from tests.conftest import by_day
from tests.family import ALL, HEAD, names, timm_model, timm_taps, variants

GOLDEN = {**golden('ghostnetv2'), **golden('ghostnetv3')}


def largest_difference(found, expected):
    """Of each output, as a share of its largest value."""
    return max(float((ours - theirs).abs().max() / theirs.abs().max())
               for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize(('network', 'width'), by_day(4, variants()), ids=names)
@torch.no_grad()
def test_every_tap_equals_timm_in_both_modes_and_folded(network, width):
    theirs = filled(timm_model(network, width))
    with torch.device('meta'):
        ours = network(width, out_indices=ALL)
    state, own = theirs.state_dict(), ours.state_dict().keys()
    assert set(state) - set(own) == {f'{layer}.{part}' for layer in ('conv_head', 'classifier')
                                     for part in ('weight', 'bias')}
    ours.load_state_dict({key: state[key].clone() for key in own}, assign=True)
    x = torch.cat([image(40, 48), image(40, 48).flip(3)])
    expected = timm_taps(theirs, x)
    assert min(float(feature.std()) for feature in expected) > 0.01
    assert largest_difference(ours.eval()(x), expected) < 1e-9
    assert largest_difference(fold(ours)(x), expected) < 1e-9
    assert largest_difference(ours.train()(x), timm_taps(theirs.train(), x)) < 1e-9
    state = theirs.state_dict()
    # the statistics agree after a step
    assert all((value - state[key]).abs().max() < 1e-9 for key, value in ours.state_dict().items())


@pytest.mark.parametrize('name', GOLDEN)
@torch.no_grad()
def test_features_are_the_reference_outputs(name):
    reference = GOLDEN[name]
    network = GhostNetV2 if 'v2' in name else GhostNetV3
    model = filled(network(out_indices=ALL))
    for feature, (tap, expected) in zip(model(image(*reference['input'])), reference['taps'].items()):
        assert list(feature.shape) == expected['shape'], tap
        torch.testing.assert_close(nine(feature), torch.tensor(expected['values'], dtype=torch.float64), rtol=1e-9,
                                   atol=1e-12)
        assert feature.mean().item() == pytest.approx(expected['mean'], rel=1e-9)
        assert feature.std().item() == pytest.approx(expected['std'], rel=1e-9)
    assert parameters(model) == reference['params']


def head(network):
    """Parameters and multiply-accumulates of the published classifier behind the last 1x1 convolution."""
    macs = network.arch.last * HEAD + HEAD * 1000
    return macs + HEAD + 1000, macs


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters()) + head(network)[0]


@pytest.mark.parametrize(('network', 'width', 'millions', 'macs'), by_day(4, [
    (GhostNetV2, 1.0, 6.16, 167), (GhostNetV2, 1.3, 8.96, None), (GhostNetV2, 1.6, 12.39, None),
    (GhostNetV3, 1.0, 8.13, 168),
    (RepGhostNet, 0.5, 2.31, 43), (RepGhostNet, 0.58, 2.55, 60), (RepGhostNet, 0.8, 3.28, 96),
    (RepGhostNet, 1.0, 4.07, 142),
    (RepGhostNet, 1.11, 4.54, 170), (RepGhostNet, 1.3, 5.48, 231), (RepGhostNet, 1.5, 6.58, 301),
    (RepGhostNet, 2.0, 9.80, 516),
]), ids=names)
def test_complexity_is_as_published(network, width, millions, macs):
    """Parameters of the form for training, multiply-accumulates of the form for inference, at 224x224."""
    with torch.device('meta'):
        model = network(width, out_indices=(4,))
        assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.01)
        if macs is not None:
            deployed = model.eval() if network is GhostNetV2 else fold(model)  # a norm has none
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                deployed(torch.zeros(1, 3, 224, 224))
            assert (counter.get_total_flops() / 2 + head(model)[1]) / 1e6 == pytest.approx(macs, rel=0.01)
