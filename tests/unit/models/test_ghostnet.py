"""GhostNet against reference outputs and the paper's figures, its own options, and recomputing."""
import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from ghostdet.models import arch
from ghostdet.models.backbones.ghostnet import GhostNet
from tests.closed_form import filled, golden, image, nine
from tests.conftest import by_day, examples, nightly

GOLDEN = golden('ghostnet')
ALL = (0, 1, 2, 3, 4)
HEAD = 1280  # channels between the last 1x1 convolution and the 1000 classes of the published classifier


# -------------------------------------------------------------------------------------------------------------- parity

@pytest.mark.parametrize('name', GOLDEN)
def test_features_are_the_reference_outputs(name):
    reference = GOLDEN[name]
    model = filled(GhostNet(reference['width'], out_indices=ALL))
    features = model(image(*reference['input']))
    for tap, feature in zip(('blocks.2', 'blocks.4', 'blocks.6', 'blocks.8', 'blocks.9'), features):
        expected = reference['taps'][tap]
        assert list(feature.shape) == expected['shape']
        torch.testing.assert_close(nine(feature), torch.tensor(expected['values'], dtype=torch.float64), rtol=1e-9,
                                   atol=1e-12)
        assert feature.mean().item() == pytest.approx(expected['mean'], rel=1e-9)
        assert feature.std().item() == pytest.approx(expected['std'], rel=1e-9)


def test_keys_and_shapes_are_those_of_the_official_weights():
    official = golden('official_1.0x_keys')
    own = {key: list(value.shape) for key, value in GhostNet(out_indices=ALL).state_dict().items()}
    classifier = {'conv_head.weight', 'conv_head.bias', 'classifier.weight', 'classifier.bias'}
    assert own == {key: shape for key, shape in official.items() if key not in classifier}


@pytest.mark.parametrize(('width', 'rounding', 'to_c5', 'to_last', 'with_classifier', 'parameters'), [
    (0.5, 'torch', 38.6, 40.4, 42.3, 2.587),
    (1.0, 'torch', 131.1, 138.6, 141.2, 5.183),
    (1.1, 'torch', 155.2, 164.4, 167.0, 5.856),
    (1.1, 'tensorflow', 152.7, 161.8, 164.5, 5.85),
    (1.3, 'torch', 211.4, 224.1, 227.0, 7.359),
])
def test_complexity_is_the_papers(width, rounding, to_c5, to_last, with_classifier, parameters):
    """Millions of multiply-accumulates of convolutions and linear layers at 224x224, and of parameters."""
    def cost(model):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.eval()(torch.zeros(1, 3, 224, 224))
        return counter.get_total_flops() / 2e6  # a multiply-accumulate counts as two

    whole = GhostNet(width, rounding, out_indices=(4,))
    head = whole.arch.last * HEAD + HEAD * 1000
    assert cost(GhostNet(width, rounding, out_indices=(3,))) == pytest.approx(to_c5, abs=0.06)
    assert cost(whole) == pytest.approx(to_last, abs=0.06)
    assert cost(whole) + head / 1e6 == pytest.approx(with_classifier, abs=0.06)
    own = sum(p.numel() for p in whole.parameters())
    assert (own + head + HEAD + 1000) / 1e6 == pytest.approx(parameters,
                                                             abs=0.005 if rounding == 'tensorflow' else 0.0006)


# ------------------------------------------------------------------------------------------------------ its own options

def test_roundings_differ_at_1_1():
    assert GhostNet(1.1).out_channels == (28, 44, 124, 176)
    assert GhostNet(1.1, rounding='tensorflow').out_channels == (24, 44, 124, 176)


@examples(8)
@given(st.floats(0.1, 1.0), st.integers(1, 4), st.sampled_from([1, 3, 5]))
def test_any_ratio_and_cheap_kernel_give_the_declared_channels(width, ratio, dw_size):
    model = GhostNet(width, ratio=ratio, dw_size=dw_size).eval()
    assert tuple(feature.shape[1] for feature in model(torch.rand(1, 3, 33, 47))) == model.out_channels


@pytest.mark.parametrize('ratio', [1, 2, 3, 5])
def test_ratio_sets_the_share_of_primary_maps(ratio):
    module = GhostNet(1.1, ratio=ratio).blocks[2][0].ghost2
    assert module.primary_conv[0].out_channels == -(-28 // ratio)
    assert (module.cheap_operation is None) == (ratio == 1)


@pytest.mark.parametrize(('argument', 'value', 'allowed'), [
    ('rounding', 'floor', 'tensorflow'), ('ratio', 0, 'at least 1'), ('ratio', 2.0, 'integer'), ('dw_size', 4, 'odd'),
    ('dw_size', -1, 'odd'), ('with_cp', 'all', "'cheap'"), ('with_cp', 1, "'cheap'"), ('shortcut_relu', 1, 'True')])
def test_wrong_argument_is_named_with_value_and_allowed(argument, value, allowed):
    with pytest.raises(ValueError, match='GhostNet: ') as error:
        GhostNet(**{argument: value})
    assert f'{argument}={value!r}' in str(error.value)
    assert allowed in str(error.value)


def test_width_that_leaves_a_layer_empty_is_refused():
    with pytest.raises(ValueError, match=r'width=0\.1'):
        GhostNet(0.1, rounding='tensorflow')


# ---------------------------------------------------------------------------------------------------------- recomputing

def random_batch():
    return torch.rand(4, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def after_training_steps(with_cp, steps=1, **options):
    """Gradients of the last of some steps, and the buffers after them."""
    model = filled(GhostNet(0.5, with_cp=with_cp, **options)).train()
    batch = random_batch()
    for _ in range(steps):
        model.zero_grad()
        sum(feature.square().mean() for feature in model(batch)).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, dict(model.named_buffers())


def assert_close(found, expected, bound):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=bound, atol=bound)


@pytest.mark.parametrize('with_cp', ['cheap', True])
@pytest.mark.parametrize('options', by_day(3, [
    dict(), dict(frozen_stages=1), dict(ratio=1), dict(ratio=3), dict(ratio=4, dw_size=5), dict(norm_eval=True),
    dict(out_indices=ALL), dict(shortcut_relu=True), dict(norm_cfg=dict(type='GN', num_groups=2)),
    dict(norm_cfg=dict(type='BN', momentum=None)), dict(norm_cfg=dict(type='BN', track_running_stats=False)),
    dict(norm_cfg=dict(type='BN', affine=False)), dict(norm_cfg=dict(type='IN', track_running_stats=True))]), ids=str)
def test_recomputing_changes_no_gradient_and_no_statistic(with_cp, options):
    plain, plain_buffers = after_training_steps(False, steps=2, **options)
    gradients, buffers = after_training_steps(with_cp, steps=2, **options)
    assert len(plain) > 100
    assert_close(gradients, plain, 1e-9)
    assert_close(buffers, plain_buffers, 1e-12)


class OwnNorm(nn.BatchNorm2d):
    """A batch norm that torch's own kernel does not compute, as SyncBatchNorm's is not."""

    def forward(self, x):
        found = nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training,
                                         self.momentum, self.eps)
        self.num_batches_tracked += 1
        return found + 0  # not what torch's own kernel gives


@pytest.mark.parametrize('with_cp', ['cheap', True])
def test_recomputing_by_a_norm_of_ones_own(with_cp):
    MMENGINE_MODELS.register_module('OwnNorm', module=OwnNorm, force=True)
    options = dict(norm_cfg=dict(type='OwnNorm'))
    (plain, plain_buffers), (found, buffers) = (after_training_steps(cp, **options) for cp in (False, with_cp))
    assert_close(found, plain, 1e-9)
    assert_close(buffers, plain_buffers, 1e-12)


@pytest.mark.parametrize('with_cp', ['cheap', True])
@pytest.mark.parametrize('norm_cfg', [dict(type='BN'), dict(type='GN', num_groups=2)], ids=str)
def test_recomputing_under_autocast_is_no_further_from_full_precision(with_cp, norm_cfg):
    def gradient(cp, enabled):
        model = filled(GhostNet(0.5, with_cp=cp, norm_cfg=norm_cfg, out_indices=(1,))).float().train()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            feature, = model(random_batch().float())
        feature.float().pow(3).mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    exact = gradient(False, enabled=False)
    plain, found = ((gradient(cp, enabled=True) - exact).norm() / exact.norm() for cp in (False, with_cp))
    assert found < max(1.5 * plain, 0.02)
    assert plain < 0.5


def saved_bytes(model, x):
    """Of all distinct tensors that autograd keeps, parameters apart."""
    own = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other takes its place
        return tensor
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = model(x)
    assert features
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


def live_bytes(model, x):
    """What the forward pass took and did not give back, whoever holds it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        features = model(x)
    assert features
    return sum(event.nbytes() for event in profiler.profiler.kineto_results.events() if event.name() == '[memory]')


@pytest.mark.parametrize('measured', [saved_bytes, live_bytes])
def test_recomputing_saves_less(measured):
    x = torch.rand(2, 3, 160, 160)
    plain, cheap, most = (measured(GhostNet(1.1, with_cp=with_cp).train(), x) for with_cp in (False, 'cheap', True))
    assert cheap < 0.65 * plain
    assert most < 0.3 * plain


@pytest.mark.parametrize('with_cp', ['cheap', True])
def test_what_was_let_go_is_held_by_nobody(with_cp):
    """Not by a cycle of references either, which would stay until the garbage collector comes by."""
    model = GhostNet(0.5, with_cp=with_cp).train()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        model(torch.rand(2, 3, 64, 64))  # its graph goes without a backward pass
        features = model(torch.rand(2, 3, 64, 64))
        sum(feature.mean() for feature in features).backward()
        del features
        gc.collect()
        assert [thing for thing in gc.garbage if isinstance(thing, torch.Tensor)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.parametrize('with_cp', ['cheap', True])
@pytest.mark.parametrize('mode', [True, False])
def test_the_mode_may_change_before_the_backward_pass(with_cp, mode):
    found = []
    for cp in (False, with_cp):
        model = filled(GhostNet(0.5, with_cp=cp)).train(mode)
        loss = sum(feature.square().mean() for feature in model(random_batch()))
        model.train(not mode)
        loss.backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert_close(*found, 1e-9)


@pytest.mark.parametrize('with_cp', ['cheap', True])
def test_a_graph_that_is_kept_can_be_walked_twice(with_cp):
    model = filled(GhostNet(0.5, with_cp=with_cp)).train()
    loss = sum(feature.square().mean() for feature in model(random_batch()))
    loss.backward(retain_graph=True)
    once = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    loss.backward()
    assert_close({name: parameter.grad for name, parameter in model.named_parameters()},
                 {name: 2 * gradient for name, gradient in once.items()}, 1e-12)


@pytest.mark.parametrize('with_cp', ['cheap', *nightly(False, True)])
def test_compiled_training_step_has_no_graph_break(with_cp):
    # C2 and C3 have every kind of bottleneck
    model = GhostNet(0.5, frozen_stages=0, with_cp=with_cp, out_indices=(0, 1)).train()
    step = torch.compile(model, fullgraph=True, backend='aot_eager')
    sum(feature.mean() for feature in step(torch.rand(2, 3, 64, 64))).backward()
    assert model.blocks[4][0].ghost2.primary_conv[0].weight.grad is not None


# ------------------------------------------------------------------------------------------------------------ the table

def test_groups_are_runs_of_one_stride():
    assert [len(group) for group in arch.ghostnet().groups] == [1, 1, 1, 1, 1, 1, 5, 1, 4]
    assert arch.ghostnet().taps == (2, 4, 6, 8)


@given(st.floats(4, 2000))
def test_torch_rounding_is_a_multiple_of_four_and_never_much_less(channels):
    rounded = arch.torch_rounding(channels)
    assert rounded % 4 == 0
    assert 0.9 * channels <= rounded <= channels + 4
