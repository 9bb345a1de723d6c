"""GhostNet 1.0x widened to other widths is the same function, and trains as a wider network."""
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ghostdet import GhostNet
from ghostdet.errors import UserError
from ghostdet.weights.initializer import load_into
from ghostdet.weights.layouts import BLOCKS
from ghostdet.weights.widening import UNEVENNESS, channel_map, widen
from tests.conftest import examples
from tests.foreign_networks import randomised

OUT = (0, 1, 2, 3, 4)


def shapes(model):
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def image(seed=1, batch=1, size=64):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def worst_difference(narrow, wide):
    """Of every feature of `wide` from that of `narrow` with duplicated channels, relative to its maximum."""
    worst = 0.0
    for index, (before, after) in enumerate(zip(narrow(image().double()), wide(image().double()))):
        channels = channel_map(before.shape[1], after.shape[1], primary=index < 4)
        worst = max(worst, float((after - before[:, channels]).abs().max() / before.abs().max()))
    return worst


@examples(15)
@given(narrow=st.floats(0.2, 1.2), wide=st.floats(0.2, 1.6),
       roundings=st.tuples(*[st.sampled_from(['torch', 'tensorflow'])] * 2))
def test_a_wider_network_has_the_same_function_or_is_refused(narrow, wide, roundings):
    try:
        source, target = (randomised(GhostNet(width, rounding, out_indices=OUT)).double()
                          for width, rounding in zip((narrow, wide), roundings))
    except ValueError:
        return  # a width that leaves a layer without channels is no network
    try:
        state = widen(source.state_dict(), shapes(target), 'file.pth')
    except UserError:
        before = shapes(source)
        shrunk = [key for key, shape in shapes(target).items()
                  if any(new < old for old, new in zip(before.get(key, ()), shape))]
        assert shrunk or before.keys() != shapes(target).keys()
        return
    target.load_state_dict(state)
    assert worst_difference(source, target) < 1e-9


@pytest.mark.parametrize('rounding', ['torch', 'tensorflow'])
def test_the_step_to_1_1x_keeps_the_classifier_too(rounding):
    source = randomised(GhostNet(out_indices=OUT)).double()
    target = GhostNet(1.1, rounding, out_indices=OUT).double().eval()
    head = dict(zip(('conv_head.weight', 'conv_head.bias'),
                    (torch.randn(7, 960, 1, 1).double(), torch.randn(7).double())))
    state = widen({**source.state_dict(), **head, 'classifier.bias': torch.zeros(3)}, shapes(target), 'file.pth')
    assert not target.load_state_dict(state, strict=False).missing_keys
    assert worst_difference(source, target) < 1e-9
    before, after = (net(image().double())[4].mean((2, 3)) for net in (source, target))
    assert torch.allclose(torch.nn.functional.linear(before, head['conv_head.weight'][..., 0, 0]),
                          torch.nn.functional.linear(after, state['conv_head.weight'][..., 0, 0]), rtol=1e-9,
                          atol=1e-12)
    assert 'classifier.bias' in state


def test_a_narrower_network_is_refused_by_name():
    with pytest.raises(UserError,
                       match=r'file\.pth cannot be widened.*conv_stem\.weight \(20, 3, 3, 3\) -> \(16, 3, 3, 3\)'):
        widen(GhostNet(1.3).state_dict(), shapes(GhostNet(1.0)), 'file.pth')


@pytest.mark.parametrize('options', [dict(ratio=1), dict(norm_cfg=dict(type='GN', num_groups=2))])
def test_other_modules_are_refused(options):
    """Group norm mixes duplicated channels otherwise."""
    with pytest.raises(UserError, match='cannot be widened'):
        widen(GhostNet(1.0, **options).state_dict(), shapes(GhostNet(1.3, **options)), 'file.pth')


def test_another_ratio_is_refused():
    with pytest.raises(UserError, match='cannot be widened'):
        widen(GhostNet(1.0).state_dict(), shapes(GhostNet(1.3, ratio=3)), 'file.pth')


def test_the_scheme_widens_a_file(tmp_path):
    source = randomised(GhostNet())
    torch.save(source.state_dict(), tmp_path / 'file.pth')
    target = GhostNet(1.1).double()
    coverage = load_into(target, f'{tmp_path}/file.pth?widen')
    assert coverage.received == coverage.wanted
    assert 'widened' in coverage.to_text()
    assert worst_difference(source.double().eval(), target.eval()) < 1e-9  # though the file is in float32


def test_the_shares_are_the_same_every_time():
    source, target = randomised(GhostNet()).state_dict(), shapes(GhostNet(1.1))
    once, again, even = (widen(source, target, 'file.pth', unevenness) for unevenness in (UNEVENNESS, UNEVENNESS, 0.0))
    assert all(torch.equal(once[key], again[key]) for key in target)
    assert not torch.equal(once['blocks.3.0.shortcut.2.weight'], even['blocks.3.0.shortcut.2.weight'])


def duplicates(model, source):
    """Relative distance of every copied channel from its original, in the layers that start as exact copies."""
    distances = []
    for block in BLOCKS:
        for ghost in ('ghost1', 'ghost2'):
            weight = model.state_dict()[f'{block}.{ghost}.cheap_operation.0.weight'].flatten(1)
            old = source[f'{block}.{ghost}.cheap_operation.0.weight'].shape[0]
            origin = channel_map(old, len(weight), primary=False)
            for channel in range(old, len(weight)):
                original = weight[origin[channel]]
                distances.append(float((weight[channel] - original).norm() / original.norm()))
    return torch.tensor(distances)


def trained(unevenness, steps):
    """A widened network before and after `steps` of training with a loss that treats duplicates alike."""
    source = randomised(GhostNet(out_indices=(3,))).double().state_dict()
    model = GhostNet(1.1, out_indices=(3,)).double()
    model.load_state_dict(widen(source, shapes(model), 'file.pth', unevenness))
    before, origin = duplicates(model, source), channel_map(160, 176)
    counts = torch.bincount(origin).double()
    weight = torch.randn(5, 160, generator=torch.Generator().manual_seed(2)).double() / 12
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(steps):
        pooled = model(image(step, 4, 32).double())[0].mean((2, 3))
        merged = torch.zeros(4, 160, dtype=torch.float64).index_add_(1, origin, pooled) / counts
        loss = torch.nn.functional.cross_entropy(merged @ weight.T, torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, duplicates(model, source)


@pytest.mark.nightly
def test_duplicates_drift_apart_in_training_and_without_uneven_shares_do_not():
    """`pytest -s -k drift -m ''` prints the figures in docs/evidence/training.md."""
    before, after = trained(UNEVENNESS, 100)
    _, control = trained(0.0, 100)
    sys.stdout.write(f'\nmedian distance of duplicates: {before.median():.2e}, after 100 steps {after.median():.2e}, '
                     f'with even fractions {control.median():.2e}\n')
    assert before.max() == 0
    assert after.median() > 1e-3
    assert control.median() < 1e-9
