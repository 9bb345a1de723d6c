"""RepGhostNet's, GhostNetV2's and GhostNetV3's weights in timm's and the authors' layouts, from files written here."""
import re
from argparse import Namespace
from copy import deepcopy

import pytest
import timm
import torch
from safetensors.torch import save_file

from ghostdet import GhostNetV2, GhostNetV3, RepGhostNet
from ghostdet.deploy import fold
from ghostdet.errors import UserError
from ghostdet.models.networks import named
from ghostdet.weights import layouts, pretrained
from ghostdet.weights.catalogue import CATALOGUE
from ghostdet.weights.conversion import check, convert
from ghostdet.weights.initializer import load_into
from ghostdet.weights.pretrained import read_weights
from ghostdet.weights.widening import channel_map
from tests.closed_form import image
from tests.conftest import nightly
from tests.family import ALL, NETWORKS, names, timm_model, timm_taps
from tests.foreign_networks import randomised

SUCCESSORS = (GhostNetV2, GhostNetV3, RepGhostNet)
WIDTH = 0.25
every_successor = pytest.mark.parametrize('network', SUCCESSORS, ids=names)


@pytest.fixture(scope='module')
def theirs():
    """timm's classifiers, with random values."""
    return {network: randomised(timm_model(network, WIDTH, classes=10)) for network in NETWORKS}


def with_layers_of_a_profiler(state):
    """As the authors of GhostNetV2 left them in their files."""
    layers = {'', *(f'{key.rpartition(".")[0]}.' for key in state), 'blocks.0.0.ghost1.gate_fn.'}
    return {**state, **{f'{layer}{name}': torch.zeros(1, dtype=torch.float64) for layer in layers
                        for name in ('total_ops', 'total_params')}}


def with_old_norms(state):
    """As the authors of GhostNetV3 name the norms of branches."""
    return {re.sub(r'(_rpr_(conv\.\d|scale)\.)bn1\.', r'\1bn.', key): value for key, value in state.items()}


def training(state, average):
    """As timm's training script, of which the authors have copies, writes a file."""
    return dict(epoch=299, arch='a', state_dict=state, optimizer=dict(state={}, param_groups=[]), version=2,
                args=Namespace(model='a', lr=0.6, drop_path=None, mean=[0.5]), amp_scaler=dict(scale=65536.0),
                state_dict_ema=average, metric=75.066)


def moved(state):
    return {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}


def file_of(state, kind, folder):
    """A file in one of the layouts, and the name that loads `state` from it."""
    file = folder / ('a.safetensors' if kind == 'timm' else 'a.pth.tar')
    if kind == 'timm':
        save_file(state, file)
        return str(file)
    content, options = {
        'GhostNetV2': (with_layers_of_a_profiler(state), ''),
        'GhostNetV3': (training(with_old_norms(state), with_old_norms(moved(state))), ''),
        'GhostNetV3 average': (training(with_old_norms(moved(state)), with_old_norms(state)), '?ema'),
        'RepGhostNet': (training(state, moved(state)), ''),
        'RepGhostNet average': (training(moved(state), {f'module.{key}': value for key, value in state.items()}),
                                '?ema'),
    }[kind]
    torch.save(content, file)
    return f'{file}{options}'


@pytest.mark.parametrize(('network', 'kind'), [
    *((network, 'timm') for network in SUCCESSORS), (GhostNetV2, 'GhostNetV2'), (RepGhostNet, 'RepGhostNet'),
    *nightly((GhostNetV3, 'GhostNetV3'), (GhostNetV3, 'GhostNetV3 average'), (RepGhostNet, 'RepGhostNet average'))],
    ids=names)
@torch.no_grad()
def test_files_of_timm_and_of_the_authors_give_timms_features(network, kind, theirs, tmp_path):
    model = theirs[network]
    backbone = network(WIDTH, out_indices=ALL)
    coverage = load_into(backbone, file_of(model.state_dict(), kind, tmp_path))
    assert coverage.received == coverage.wanted > 400
    assert not coverage.unexpected
    assert {key.split('.')[0] for key in coverage.unused} == {'conv_head', 'classifier'}
    x, model = image(64, 64), deepcopy(model).double()
    for ours, expected in zip(backbone.double().eval()(x), timm_taps(model, x), strict=True):
        assert expected.std() > 0.01
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


TENSORS = {GhostNetV2: 'blocks.3.0.ghost1.short_conv.2.weight', GhostNetV3: 'blocks.1.0.dw_rpr_scale.bn1.running_var',
           RepGhostNet: 'blocks.6.4.ghost2.fusion_bn.0.bias'}


@every_successor
@pytest.mark.parametrize('fault', ['renamed', 'missing', 'of another shape'])
def test_a_tensor_that_does_not_fit_is_named_and_nothing_is_loaded(network, fault, theirs, tmp_path):
    state, key = theirs[network].state_dict(), TENSORS[network]
    value = state.pop(key)
    state |= {'renamed': {f'{key}_': value}, 'missing': {}, 'of another shape': {key: value[:-1]}}[fault]
    torch.save(state, tmp_path / 'a.pth')
    backbone = network(WIDTH, init_cfg=dict(type='Pretrained', checkpoint=f'{tmp_path}/a.pth'))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(UserError, match=f'do not fit the {network.__name__}: ') as caught:
        backbone.init_weights()
    assert key in str(caught.value)
    assert (f'{key}_' in str(caught.value)) == (fault == 'renamed')
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_file_of_another_member_of_the_family_is_named(theirs, tmp_path):
    for network in NETWORKS:
        state = theirs[network].state_dict()
        first = {key: state[key] for key in network(WIDTH, out_indices=(0,)).state_dict()}  # they show what it is
        torch.save(first, tmp_path / 'a.pth')
        for other in set(NETWORKS) - {network}:
            message = (rf'a\.pth is a {network.__name__} file, and the backbone is a {other.__name__}: '
                       rf"take weights of {other.__name__}, or set model\.backbone\.type='")
            with pytest.raises(UserError, match=message):
                load_into(other(WIDTH, out_indices=(0,)), f'{tmp_path}/a.pth')


@pytest.mark.parametrize('network', NETWORKS, ids=names)
def test_a_folded_network_is_refused(network, tmp_path):
    torch.save(fold(network(WIDTH)).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(UserError,
                       match=rf'a\.pth is a .*\b{network.__name__}\b.* file that cannot be loaded: it is folded'):
        load_into(network(WIDTH), f'{tmp_path}/a.pth')


def test_the_authors_own_folded_form_is_refused(theirs, tmp_path):
    state = theirs[RepGhostNet].state_dict()
    for key in [key for key in state if '.fusion_bn.' in key or '.cheap_operation.1.' in key]:
        del state[key]
    state = {key.replace('.cheap_operation.0.', '.cheap_operation.'): value for key, value in state.items()}
    state['blocks.0.0.ghost1.cheap_operation.bias'] = torch.zeros(4)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(UserError, match=r'RepGhostNet.* folded for inference'):
        load_into(RepGhostNet(WIDTH), f'{tmp_path}/a.pth')


def test_another_width_is_named(theirs, tmp_path):
    torch.save(theirs[RepGhostNet].state_dict(), tmp_path / 'a.pth')
    with pytest.raises(UserError,
                       match=r'conv_stem\.weight \(16, 3, 3, 3\) \(the file has \(4, 3, 3, 3\)\).*\?widen after'):
        load_into(RepGhostNet(), f'{tmp_path}/a.pth')


# ------------------------------------------------------------------------------------------------------------ catalogue

def test_the_catalogue_has_the_files_of_timm_and_of_the_authors():
    wanted = {*(f'repghostnet_{width}x' for width in ('0.5', '0.58', '0.8', '1.0', '1.11', '1.3', '1.5', '2.0')),
              *(f'ghostnetv2_{width}x' for width in ('1.0', '1.3', '1.6')), 'ghostnetv3_1.0x'}
    for name in sorted(wanted):
        theirs, own = CATALOGUE[f'{name}_timm'], CATALOGUE[name]
        cfg = timm.get_pretrained_cfg(theirs.file.partition('.')[0])
        assert theirs.url == f'https://huggingface.co/{cfg.hf_hub_id}/resolve/main/model.safetensors'
        assert theirs.weights_licence.lower() == cfg.license
        assert own.weights_licence is None
        assert own.url.startswith(own.source)
        assert (own.width, own.layout, own.sha256) == (theirs.width, theirs.layout, None)
        assert own.top1 == pytest.approx(theirs.top1, abs=0.2)
        network, width = named(name)
        assert (layouts.LAYOUTS[own.layout].network, own.width) == (network.type, width)
        assert network.load()(own.width).out_channels == network.architecture(width).channels


@pytest.mark.parametrize('name', ['repghostnet_1.11x', 'ghostnetv3_1.0x'])
@pytest.mark.parametrize('has_average', [True, False])
def test_a_name_loads_the_weights_whose_accuracy_it_gives(name, has_average, theirs, tmp_path, monkeypatch):
    """That is the moving average in these files."""
    state = theirs[RepGhostNet if 'rep' in name else GhostNetV3].state_dict()
    torch.save(training(moved(state), state) if has_average else dict(state_dict=state), tmp_path / 'a.pth.tar')
    monkeypatch.setattr(pretrained, 'locate', lambda name: tmp_path / 'a.pth.tar')
    assert torch.equal(read_weights(f'ghostdet://{name}').state['conv_stem.weight'], state['conv_stem.weight'])


# ---------------------------------------------------------------------------------------------- widening and converting

@every_successor
@torch.no_grad()
def test_a_wider_network_has_the_same_function(network, theirs, tmp_path):
    torch.save(theirs[network].state_dict(), tmp_path / 'a.pth')
    narrow, wide = network(WIDTH, out_indices=ALL), network(0.4, out_indices=ALL)
    load_into(narrow, f'{tmp_path}/a.pth')
    coverage = load_into(wide.double(), f'{tmp_path}/a.pth?widen')
    assert coverage.received == coverage.wanted
    x = image(64, 64)
    for index, (before, after) in enumerate(zip(narrow.double().eval()(x), wide.eval()(x))):
        channels = channel_map(before.shape[1], after.shape[1], primary=index < 4)
        assert after.shape[1] > before.shape[1]
        assert (after - before[:, channels]).abs().max() < 1e-9 * before.abs().max()


@pytest.mark.parametrize('network', [GhostNetV2, RepGhostNet], ids=names)
def test_check_and_convert_tell_network_and_width(network, tmp_path):
    state = {f'backbone.{key}': value for key, value in network(0.28).state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    text = check(f'{tmp_path}/a.pth', None, None)
    assert (f'all tensors that {network.__name__} 0.28x needs for C2..C5 are there; '
            'the last 1x1 convolution is missing') in text
    convert(f'{tmp_path}/a.pth', tmp_path / 'b.safetensors', None, None)
    assert load_into(network(0.28), f'{tmp_path}/b.safetensors').fits
    with pytest.raises(UserError, match=f'is a {network.__name__} file, and only GhostNet has that rounding'):
        check(f'{tmp_path}/a.pth', None, 'tensorflow')
    with pytest.raises(UserError, match=rf'^{network.__name__} 1\.0x does not fit'):
        check(f'{tmp_path}/a.pth', 1.0, None)


def test_a_network_cut_by_timm_is_named(tmp_path):
    torch.save(timm.create_model('repghostnet_050', features_only=True).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(UserError, match='a timm features_only file that cannot be loaded: it is cut for other outputs'):
        load_into(RepGhostNet(0.5), f'{tmp_path}/a.pth')
