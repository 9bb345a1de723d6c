"""What GhostNet and its successors share: outputs, freezing, norms, arguments, and the rest of the framework."""
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from mmdet.registry import MODELS
from mmengine.registry import MODELS as MMENGINE_MODELS

import ghostdet
from ghostdet import GhostConv, GhostNet, GhostNetV2, GhostNetV3, RepGhostNet, ghostify
from ghostdet.models.backbones.ghostnetv2 import halve
from tests.closed_form import filled, image
from tests.conftest import examples
from tests.family import ALL, NETWORKS, names

SMALL = 0.25  # a width

every_network = pytest.mark.parametrize('network', NETWORKS, ids=names)


def norm_buffers(model):
    return {key: value.clone() for key, value in model.state_dict().items() if 'running' in key or 'num_batches' in key}


def training_step(model, size=64):
    model.train()
    sum(feature.square().mean() for feature in model(torch.rand(2, 3, size, size))).backward()


@pytest.mark.parametrize(('network', 'width', 'channels'), [
    (GhostNet, 1.1, (28, 44, 124, 176)), (GhostNetV2, 1.6, (40, 64, 180, 256)), (GhostNetV3, 1.0, (24, 40, 112, 160)),
    (RepGhostNet, 1.11, (28, 44, 124, 176))], ids=names)
def test_registered_with_channels_and_strides(network, width, channels):
    model = MODELS.build(dict(type=network.__name__, width=width))
    assert (model.out_channels, model.out_strides) == (channels, (4, 8, 16, 32))
    assert MODELS.get(network.__name__) is MMENGINE_MODELS.get(f'mmdet.{network.__name__}') is network
    assert getattr(ghostdet, network.__name__) is network

indices = st.sets(st.sampled_from(ALL), min_size=1).map(lambda s: tuple(sorted(s)))


@every_network
@examples(6)
@given(width=st.floats(0.1, 1.5), out_indices=indices, size=st.tuples(st.integers(32, 200), st.integers(32, 200)))
@example(width=SMALL, out_indices=ALL, size=(32, 32))  # one pixel in C5
@example(width=SMALL, out_indices=ALL, size=(200, 33))
def test_declaration_holds_for_real_tensors(network, width, out_indices, size):
    model = network(width, out_indices=out_indices).eval()
    with torch.no_grad():
        features = model(torch.rand(1, 3, *size))
    assert len(features) == len(out_indices) == len(model.out_channels) == len(model.out_strides)
    for feature, channels, stride in zip(features, model.out_channels, model.out_strides):
        assert tuple(feature.shape) == (1, channels, *(-(-side // stride) for side in size))


@every_network
@examples(3)
@given(width=st.floats(0.1, 0.5), out_indices=indices)
def test_subset_of_outputs_is_the_same_tensors(network, width, out_indices):
    whole = filled(network(width, out_indices=ALL))
    part = network(width, out_indices=out_indices).double().eval()
    state = whole.state_dict()
    part.load_state_dict({key: state[key] for key in part.state_dict()})
    x = image(64, 48)
    features = whole(x)
    for index, feature in zip(out_indices, part(x), strict=True):
        assert torch.equal(feature, features[index])


@every_network
@pytest.mark.parametrize('out_indices', [(0,), (0, 2), ALL], ids=str)
def test_what_comes_after_the_last_output_is_not_built(network, out_indices):
    """Else it would have parameters without a gradient."""
    model = network(SMALL, out_indices=out_indices)
    training_step(model)
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@every_network
def test_batch_equals_its_images_one_by_one(network):
    model = filled(network(SMALL))
    batch = torch.cat([image(64, 64), image(64, 64).flip(3)])
    for feature, first, second in zip(model(batch), model(batch[:1]), model(batch[1:])):
        torch.testing.assert_close(feature, torch.cat([first, second]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('sides', [(1, 1), (1, 6), (7, 1), (2, 2), (3, 5), (8, 4)], ids=str)
def test_pixels_are_averaged_in_squares_and_a_single_row_or_column_stays(sides):
    x = torch.rand(2, 3, *sides, dtype=torch.float64)
    height, width = (max(side // 2, 1) for side in sides)
    expected = torch.stack([torch.stack([x[..., 2 * row:2 * row + 2, 2 * column:2 * column + 2].mean((2, 3))
                                         for column in range(width)], dim=-1) for row in range(height)], dim=-2)
    torch.testing.assert_close(halve(x), expected, rtol=1e-12, atol=1e-12)


@every_network
@pytest.mark.parametrize('frozen_stages', [-1, 0, 2, 4])
def test_frozen_parts_neither_learn_nor_move(network, frozen_stages):
    model = network(SMALL, frozen_stages=frozen_stages, out_indices=ALL)
    before = norm_buffers(model)
    # attention at half the resolution needs more than one pixel for its statistics to move
    training_step(model, size=128)
    last_group = {-1: None, 0: -1, 2: 4, 4: 8}[frozen_stages]

    def is_frozen(key):
        if last_group is None:
            return False
        return not key.startswith('blocks.') or int(key.split('.')[1]) <= last_group

    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == is_frozen(name), name
    for key, value in norm_buffers(model).items():
        assert torch.equal(value, before[key]) == is_frozen(key), key


@every_network
def test_train_and_eval_return_the_model(network):
    model = network(SMALL, frozen_stages=1)
    assert model.train() is model
    assert model.eval() is model


@every_network
def test_norm_eval_keeps_statistics_and_trains_the_rest(network):
    model = network(SMALL, norm_eval=True)
    before = norm_buffers(model)
    training_step(model)
    assert all(torch.equal(value, before[key]) for key, value in norm_buffers(model).items())
    assert all(parameter.grad is not None for parameter in model.parameters())


@every_network
@pytest.mark.parametrize('norm_cfg', [dict(type='SyncBN'), dict(type='GN', num_groups=2), dict(type='BN', eps=1e-3)],
                         ids=str)
def test_norms(network, norm_cfg):
    model = network(SMALL, norm_cfg=norm_cfg).eval()
    assert model(torch.rand(1, 3, 64, 64))[-1].shape == (1, 40, 2, 2)


@every_network
def test_default_weights_let_signals_through(network):
    torch.manual_seed(0)
    model = network(SMALL, out_indices=ALL)
    model.init_weights()
    model.train()
    assert all(0.1 < feature.std() < 10 for feature in model(torch.randn(4, 3, 64, 64)))


@every_network
def test_ghostify_leaves_ghost_modules_alone(network):
    model = network(SMALL)
    ghosted = ghostify(model, skip=['*.se'])
    assert 'conv_stem' in {one.name for one in ghosted.replaced}
    assert {one.name.rpartition('blocks.')[2][4:] for one in ghosted.replaced} == {'_stem', 'shortcut.2'}
    assert isinstance(model.conv_stem, GhostConv)
    training_step(model)


@every_network
@pytest.mark.parametrize(('argument', 'value', 'allowed'), [
    ('width', 0, 'above 0'), ('width', -1.0, 'above 0'), ('width', float('nan'), 'above 0'),
    ('width', '1.0', 'above 0'),
    ('out_indices', (), 'positions'), ('out_indices', (5,), 'positions'), ('out_indices', (1, 0), 'increasing'),
    ('out_indices', (1, 1), 'increasing'), ('out_indices', 3, 'positions'), ('frozen_stages', 5, '-1'),
    ('frozen_stages', -2, '-1'), ('frozen_stages', True, 'integer'), ('norm_cfg', 'BN', 'dict'),
    ('norm_cfg', dict(), 'dict'),
    ('norm_cfg', None, 'dict'), ('norm_eval', 1, 'True'), ('init_cfg', 'weights.pth', 'a dict'),
])
def test_wrong_argument_is_named_with_value_and_allowed(network, argument, value, allowed):
    with pytest.raises(ValueError, match=f'^{network.__name__}: ') as error:
        network(**{argument: value})
    assert f'{argument}={value!r}' in str(error.value)
    assert allowed in str(error.value)


@every_network
def test_misspelt_argument_is_refused(network):
    with pytest.raises(TypeError, match='widht'):
        MODELS.build(dict(type=network.__name__, widht=1.1))


@every_network
@pytest.mark.parametrize('norm_cfg', [dict(type='GN', num_groups=32), dict(type='GN'), dict(type='GN', num_groups=0),
                                      dict(type='GN', num_groups='2'), dict(type='Nope')], ids=str)
def test_norm_that_cannot_be_built_is_named(network, norm_cfg):
    with pytest.raises(ValueError, match='num_groups') as error:
        network(1.0, norm_cfg=norm_cfg)
    assert f'norm_cfg={norm_cfg!r}' in str(error.value)
