import pickle
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import save_file
from timm import create_model

from ghostdet import GhostNet
from ghostdet.errors import UserError
from ghostdet.weights.checkpoint_file import DamagedFileError, UnsafeFileError
from ghostdet.weights.initializer import load_into
from ghostdet.weights.pretrained import read_weights
from ghostdet.weights.reader import split_options
from tests import hostile
from tests.foreign_networks import DLi14, Paddle, randomised

OUT = (0, 1, 2, 3, 4)


@pytest.fixture(scope='module')
def official():
    """Weights of the official network, from timm's own model of it."""
    return randomised(create_model('ghostnet_100')).state_dict()


def wrapped(state, kind):
    """What the file of one way of saving holds."""
    noise = {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}
    return {
        'plain': state,
        'state_dict': dict(state_dict=state, epoch=3),
        'model': dict(model=state, optimizer={}),
        'compiled': {f'_orig_mod.{key}': value for key, value in state.items()},
        'model. beside a loss': dict(state_dict={'loss.weight': torch.ones(9),
                                                 **{f'model.{key}': state[key] for key in state}}),
        'module.': dict(state_dict={f'module.{key}': value for key, value in state.items()}),
        'empty beside it': dict(state_dict={}, model=state),
        'average': dict(state_dict=noise, state_dict_ema=state),
        'module in average': dict(model=noise, model_ema=dict(module=state)),
        'shadow in average': dict(state_dict=noise, ema=dict(decay=0.9, shadow=state)),
        'module. average': dict(model=noise, model_ema={f'module.{key}': value for key, value in state.items()}),
        # Mmengine's EMAHook saves the average in the model's place: mmengine/hooks/ema_hook.py, before_save_checkpoint.
        'mmengine average': dict(state_dict={f'backbone.{key}': value for key, value in state.items()}, ema_state_dict={
            'steps': torch.tensor(1), **{f'module.backbone.{key}': value for key, value in noise.items()}}),
        'classifier of mmpretrain': dict(state_dict={f'backbone.{key}': value for key, value in state.items()},
                                         meta={}),
    }[kind]


@pytest.mark.parametrize('kind',
                         ['plain', 'state_dict', 'model', 'module.', 'average', 'module. average', 'mmengine average',
                                  'classifier of mmpretrain', 'compiled', 'empty beside it', 'module in average',
                                  'shadow in average', 'model. beside a loss', 'safetensors'])
def test_every_wrapping_of_the_official_layout_loads_into_equal_backbones(kind, official, tmp_path):
    file = tmp_path / ('file.safetensors' if kind == 'safetensors' else 'file.pth')
    if kind == 'safetensors':
        save_file(official, file)
    else:
        torch.save(wrapped(official, kind), file)
    backbone = GhostNet(out_indices=OUT)
    coverage = load_into(backbone, f'{file}?ema' if 'average' in kind else str(file))
    assert coverage.received == coverage.wanted > 400
    assert {key.split('.')[-2] for key in coverage.unused} >= {'conv_head', 'classifier'}
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, official[key]), key


@pytest.mark.parametrize('width', [0.5, 1.0, 1.3])
@pytest.mark.parametrize(('network', 'layout'), [(DLi14, 'd-li14'), (Paddle, 'paddle')])
def test_foreign_layouts_become_the_same_function(network, layout, width, tmp_path):
    model = randomised(network(width))
    file = tmp_path / ('file.pdparams' if layout == 'paddle' else 'file.pth')
    model.save(file, as_pairs=width == 1.0) if layout == 'paddle' else torch.save(model.state_dict(), file)
    backbone = GhostNet(width, out_indices=OUT, shortcut_relu=layout == 'd-li14').eval()
    coverage = load_into(backbone, str(file))
    assert coverage.received == coverage.wanted
    image = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for expected, result in zip(model.double()(image.double()), backbone.double()(image.double())):
            assert (expected - result).abs().max() < 1e-7 * expected.abs().max()  # 6b - 3 was rounded to float32
            assert expected.std() > 0.1


@pytest.mark.parametrize(('network', 'name'), [(DLi14, 'file.pth'), (Paddle, 'file.pdparams')])
def test_a_width_at_which_no_conversion_is_exact_is_refused(network, name, tmp_path):
    """At 1.1 their attention has 33 units where the official network has 32."""
    model = network(1.1)
    torch.save(model.state_dict(), tmp_path / name) if network is DLi14 else model.save(tmp_path / name, as_pairs=True)
    with pytest.raises(UserError, match=rf'{name}: blocks\.4\.0\.se has 33 units, 1 more'):
        read_weights(str(tmp_path / name))


def test_half_precision_files_are_converted_in_full(tmp_path):
    model = randomised(DLi14()).half()
    torch.save(model.state_dict(), tmp_path / 'half.pth')
    torch.save(model.float().state_dict(), tmp_path / 'full.pth')
    half, full = (read_weights(str(tmp_path / name)).state for name in ('half.pth', 'full.pth'))
    assert all(torch.equal(half[key], full[key]) for key in full)


@pytest.mark.parametrize('key', ['features.4.conv.2.fc.2.weight', 'features.4.conv.2.fc.0.bias'])
def test_a_tensor_that_a_foreign_file_lacks_is_named(key, tmp_path):
    state = DLi14().state_dict()
    del state[key]
    state['features.30.conv.0.primary_conv.0.weight'] = torch.ones(1)
    torch.save(state, tmp_path / 'file.pth')
    with pytest.raises(UserError,
                       match=r'd-li14.*missing or of another shape: blocks\.3\.0\.se.*unexpected: features\.30'):
        load_into(GhostNet(shortcut_relu=True), str(tmp_path / 'file.pth'))


@pytest.mark.parametrize(('network', 'name'), [(DLi14, 'file.pth'), (Paddle, 'file.pdparams')])
def test_the_head_is_converted_too(network, name, tmp_path):
    """Timm's model with the converted classifier gives the foreign network's logits."""
    model = randomised(network())
    if network is DLi14:  # the official network has no ReLU in the shortcuts: make it do nothing
        for block in model.features[1:]:
            if len(block.shortcut):
                block.shortcut[0][2] = torch.nn.Sequential()
    file = tmp_path / name
    torch.save(model.state_dict(), file) if network is DLi14 else model.save(file, as_pairs=True)
    reference = create_model('ghostnet_100').eval()
    incompatible = reference.load_state_dict(read_weights(str(file)).state, strict=False)
    assert not incompatible.unexpected_keys
    assert all(key.endswith('num_batches_tracked') for key in incompatible.missing_keys)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        expected = model.double()(image)[-1]
        # 6b - 3 was rounded to float32
        assert (expected - reference.double()(image)).abs().max() < 1e-7 * expected.abs().max()


def test_the_shortcuts_relu_has_to_be_asked_for(tmp_path, official):
    torch.save(randomised(DLi14()).state_dict(), tmp_path / 'file.pth')
    with pytest.raises(UserError,
                       match=r'network with a ReLU in its shortcuts: set model\.backbone\.shortcut_relu=True'):
        load_into(GhostNet(), str(tmp_path / 'file.pth'))
    torch.save(official, tmp_path / 'file.pth')
    with pytest.raises(UserError, match=r'no ReLU.*shortcut_relu=False'):
        load_into(GhostNet(shortcut_relu=True), str(tmp_path / 'file.pth'))


@pytest.mark.parametrize(('text', 'fits'), [
    ("backbone=dict(shortcut_relu=True, type='GhostNet')", {True}), ("backbone=dict(type='mmdet.GhostNet')", {False}),
    ("type='TIMMBackbone'", {True, False})])
@pytest.mark.parametrize('key', ['cfg', 'config'])  # mmengine's runs, and those of mmdet 2
def test_the_config_of_a_run_tells_whether_its_shortcuts_had_a_relu(key, text, fits, tmp_path, official):
    state = {f'backbone.{key}': value for key, value in official.items()}
    torch.save(dict(meta={key: text}, state_dict=state), tmp_path / 'a.pth')
    for relu in (True, False):
        with nullcontext() if relu in fits else pytest.raises(UserError, match='ReLU in its shortcuts'):
            load_into(GhostNet(shortcut_relu=relu), str(tmp_path / 'a.pth'))


def test_a_prefix_says_which_of_two_networks_is_meant(tmp_path, official):
    other = {f'teacher.{key}': value + 1 for key, value in official.items()}
    torch.save({**other, **{f'student.{key}': value for key, value in official.items()}}, tmp_path / 'two.pth')
    backbone = GhostNet(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'two.pth'), prefix='student.'))
    backbone.init_weights()
    assert torch.equal(backbone.conv_stem.weight, official['conv_stem.weight'])
    with pytest.raises(UserError, match=r'no tensors below the prefix nobody; its first keys are teacher\.conv_stem'):
        load_into(backbone, str(tmp_path / 'two.pth'), 'nobody')


@pytest.mark.parametrize('prefix', ['model.student', 'student', 'model.student.'])
def test_a_prefix_may_be_named_with_or_without_its_wrapper(prefix, tmp_path, official):
    state = {f'model.{name}.{key}': value for name in ('teacher', 'student') for key, value in official.items()}
    torch.save(state, tmp_path / 'two.pth')
    assert load_into(GhostNet(), str(tmp_path / 'two.pth'), prefix).received == 423


def test_a_merged_ghostnetv3_is_named(tmp_path):
    model = create_model('ghostnetv2_100')  # whose attention it has, and biases where norms were merged
    state = {**model.state_dict(), 'blocks.0.0.ghost1.primary_conv.0.bias': torch.zeros(8)}
    torch.save(dict(sorted(state.items())), tmp_path / 'file.pth')
    with pytest.raises(UserError, match='is a GhostNetV2 or GhostNetV3 file'):
        load_into(GhostNet(), str(tmp_path / 'file.pth'))


def test_weights_of_a_batch_norm_are_not_another_norms(tmp_path, official):
    torch.save(official, tmp_path / 'file.pth')
    with pytest.raises(UserError, match=r'265 of 265 tensors; of another network or norm: bn1\.running_mean'):
        load_into(GhostNet(norm_cfg=dict(type='GN', num_groups=2)), str(tmp_path / 'file.pth'))


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_values_that_are_not_finite_are_refused_where_they_would_be_loaded(value, tmp_path, official):
    broken = {key: tensor.clone() for key, tensor in official.items()}
    broken['classifier.weight'][0, 0] = value
    torch.save(broken, tmp_path / 'file.pth')
    load_into(GhostNet(), str(tmp_path / 'file.pth'))
    broken['blocks.3.0.conv_dw.weight'][0] = value
    torch.save(broken, tmp_path / 'file.pth')
    with pytest.raises(UserError, match=r'with values that are not finite: blocks\.3\.0\.conv_dw\.weight;'):
        load_into(GhostNet(), str(tmp_path / 'file.pth'))


def test_a_tensor_more_makes_another_network_within_the_backbone_and_none_behind_it(tmp_path, official):
    more = {'blocks.0.0.se.conv_reduce.weight', 'blocks.2.5.conv_dw.weight', 'conv_stem.bias', 'blocks.12.0.x',
            'other.weight'}
    torch.save({**official, **{key: torch.ones(4) for key in more}}, tmp_path / 'file.pth')
    with pytest.raises(UserError, match=r'do not fit the GhostNet: .*of another network or norm') as caught:
        load_into(GhostNet(out_indices=(0, 1)), str(tmp_path / 'file.pth'))
    listed = str(caught.value).partition('of another network or norm: ')[2].partition(';')[0]
    assert {*listed.split(', ')} == more - {'blocks.12.0.x', 'other.weight'}
    torch.save({**official, 'blocks.12.0.x': torch.ones(4), 'blocks.5.9.x': torch.ones(4)}, tmp_path / 'file.pth')
    loaded = load_into(GhostNet(out_indices=(0, 1)), str(tmp_path / 'file.pth'))
    assert loaded.unexpected == ('blocks.12.0.x', 'blocks.5.9.x')


def test_what_a_profiler_left_in_the_layers_is_no_tensor(tmp_path, official):
    left = {f'{layer}.{name}': torch.zeros(1) for layer in ('conv_stem', 'blocks.0.0')
            for name in ('total_ops', 'total_params')}
    torch.save({**official, **left}, tmp_path / 'file.pth')
    assert load_into(GhostNet(), str(tmp_path / 'file.pth')).fits


def test_mmengines_log_says_where_each_parameter_came_from(tmp_path, official, monkeypatch):
    torch.save(official, tmp_path / 'file.pth')
    backbone, told = GhostNet(init_cfg=dict(type='Pretrained', checkpoint=f'{tmp_path}/file.pth')), []
    monkeypatch.setattr(backbone, '_dump_init_info', lambda: told.extend(
        entry['init_info'] for entry in backbone._params_init_info.values()))
    backbone.init_weights()
    assert {*told} == {f'CompletePretrained: {tmp_path}/file.pth'}


def test_a_file_without_the_stem_is_recognised_by_the_rest(tmp_path, official):
    torch.save({key: value for key, value in official.items() if key != 'conv_stem.weight'}, tmp_path / 'file.pth')
    with pytest.raises(UserError, match=r'official.*missing or of another shape: conv_stem\.weight \(16, 3, 3, 3\)'):
        load_into(GhostNet(), str(tmp_path / 'file.pth'))


@pytest.mark.parametrize(('name', 'label'), [('ghostnetv2_100', 'GhostNetV2'), ('ghostnetv3_100', 'GhostNetV3')])
def test_later_networks_are_named(name, label, tmp_path):
    torch.save(dict(state_dict=create_model(name).state_dict()), tmp_path / 'file.pth')
    with pytest.raises(UserError, match=f'is a {label} file'):
        load_into(GhostNet(), str(tmp_path / 'file.pth'))


def test_what_is_no_ghostnet_is_told_with_its_keys(tmp_path):
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / 'linear.pth')
    with pytest.raises(UserError, match=r'no known layout of GhostNet .* first keys are weight, bias'):
        read_weights(str(tmp_path / 'linear.pth'))
    torch.save(dict(epoch=3, note='none'), tmp_path / 'nothing.pth')
    with pytest.raises(UserError, match='holds no tensors with names; it holds epoch, note'):
        read_weights(str(tmp_path / 'nothing.pth'))


def test_an_average_that_is_not_there(tmp_path, official):
    torch.save(official, tmp_path / 'file.pth')
    with pytest.raises(UserError, match='no moving average'):
        read_weights(f'{tmp_path}/file.pth?ema')


def test_options_belong_to_the_end_of_a_name():
    assert split_options('a.pth?widen&ema') == ('a.pth', {'widen', 'ema'})
    assert split_options('https://x/a.pth?token=1') == ('https://x/a.pth?token=1', set())
    for mark in '?&':
        assert split_options(f'https://x/a.pth?token=1{mark}ema') == ('https://x/a.pth?token=1', {'ema'})


@pytest.mark.parametrize('name', ['width', 'missing', 'renamed'])
def test_a_backbone_gets_all_of_its_tensors_or_none(name, official, tmp_path):
    state = dict(official)
    if name == 'missing':
        del state['blocks.3.0.se.conv_reduce.bias']
    if name == 'renamed':
        state['blocks.3.0.se.reduce.bias'] = state.pop('blocks.3.0.se.conv_reduce.bias')
    torch.save(state, tmp_path / 'file.pth')
    backbone = GhostNet(1.1 if name == 'width' else 1.0,
                        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'file.pth')))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with pytest.raises(UserError, match=r'do not fit the GhostNet.*official \(huawei-noah, timm\)') as caught:
        backbone.init_weights()
    message = str(caught.value)
    if name == 'width':
        assert 'blocks.1.0.ghost1.primary_conv.0.weight (26, 16, 1, 1) (the file has (24, 16, 1, 1))' in message
        assert '?widen' in message
    else:
        assert 'blocks.3.0.se.conv_reduce.bias (20,) (the file has none)' in message
        assert ('blocks.3.0.se.reduce.bias' in message) == (name == 'renamed')
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


# ---------------------------------------------------------------------------------------------------------- .pdparams

def test_hostile_and_damaged_pdparams(tmp_path):
    file, marker = tmp_path / 'file.pdparams', tmp_path / 'marker'
    hostile.plain_pickle(file, marker)
    with pytest.raises(UnsafeFileError, match=r'asks for pathlib.*Path\.touch|asks for builtins\.getattr'):
        read_weights(str(file))
    assert not marker.exists()
    for content in (b'', pickle.dumps([1, 2]), pickle.dumps(dict(a=1))[:-3]):
        file.write_bytes(content)
        with pytest.raises(DamagedFileError, match=r'file\.pdparams'):
            read_weights(str(file))


def test_damaged_safetensors(tmp_path):
    (tmp_path / 'file.safetensors').write_bytes(b'12345678{}')
    with pytest.raises(DamagedFileError, match=r'file\.safetensors'):
        read_weights(str(tmp_path / 'file.safetensors'))
