"""Built models with Ghost convolutions in place of their own."""
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

import ghostdet
from ghostdet import GhostConv, GhostNet, ghostify
from ghostdet.models.inference import optimize

R50 = Path(mmdet.__file__).parent / '.mim/configs/retinanet/retinanet_r50_fpn_1x_coco.py'
HEAD = ('bbox_head.retina_cls', 'bbox_head.retina_reg')  # mmdet builds these two without its conv_cfg


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def small():
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), depthwise, nn.Conv2d(8, 6, 1, bias=False))


def test_of_mmdets_retinanet_it_is_conv_cfg_without_a_config():
    cfg = Config.fromfile(R50)
    init_default_scope('mmdet')
    cfg.model.backbone.init_cfg = None
    plain = MODELS.build(cfg.model)
    ghosted = ghostify(plain, 2, 3, skip=HEAD)
    for part in ('backbone', 'neck', 'bbox_head'):
        cfg.model[part].conv_cfg = dict(type='GhostConv', ratio=2, dw_size=3)
    named = MODELS.build(cfg.model)
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (plain, named)]
    assert shapes[0] == shapes[1]
    assert (ghosted.before, ghosted.after) == (37_968_692, parameters(named))
    assert len(ghosted.replaced) == 69
    assert ghosted.left_alone == dict.fromkeys(HEAD, 'it is skipped')


def test_the_report_adds_up():
    model = small()
    ghosted = ghostify(model)
    assert [(one.name, one.before, one.after) for one in ghosted.replaced] == [
        ('0', 224, 4 * 27 + 4 * 9 + 8), ('3', 48, 3 * 8 + 3 * 9)]
    assert ghosted.before - ghosted.after == sum(one.before - one.after for one in ghosted.replaced)
    assert ghosted.after == parameters(model)
    assert ghosted.to_text().splitlines()[-2:] == [
        'left alone, it is grouped or depthwise, where a Ghost module saves nothing: 2',
        f'2 convolutions of 3 replaced: 352 -> {ghosted.after} parameters, {1 - ghosted.after / 352:.1%} saved']


def test_first_filters_biases_mode_type_layout_and_frozenness_stay():
    model = small().double().eval().to(memory_format=torch.channels_last)
    model[0].weight.requires_grad_(False)
    old = model[0]
    ghostify(model)
    assert torch.equal(model[0].primary.weight, old.weight[:4])
    assert model[0].primary.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(model[0].bias, old.bias)
    assert {name: parameter.requires_grad for name, parameter in model[0].named_parameters()} == {
        'bias': True, 'primary.weight': False, 'cheap.weight': False}
    assert all(parameter.requires_grad for parameter in model[3].parameters())
    assert not any(module.training for module in model.modules())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


def test_ratio_1_changes_nothing_that_it_computes():
    model, image = small(), torch.randn(2, 3, 9, 9)
    expected = model(image)
    assert len(ghostify(model, ratio=1).replaced) == 2
    assert torch.equal(model(image), expected)


def test_a_convolution_in_several_places_becomes_one_and_is_skipped_by_any_of_its_names():
    def tied():
        shared = nn.Conv2d(4, 4, 1)
        return nn.ModuleDict(dict(a=nn.Sequential(shared), b=nn.Sequential(shared)))
    model = tied()
    assert len(ghostify(model).replaced) == 1
    assert model['a'][0] is model['b'][0]
    assert isinstance(model['a'][0], GhostConv)
    assert ghostify(tied(), skip=['b']).replaced == ()


def test_what_it_does_not_understand_it_leaves_alone_and_says_so():
    class Special(nn.Conv2d):
        pass
    model = nn.Sequential(Special(4, 4, 1), *(nn.Conv2d(4, 4, 1) for _ in range(4)), GhostConv(4, 4, 1))
    model[2].bias = model[1].bias
    nn.utils.spectral_norm(model[3])
    model[4].register_full_backward_hook(lambda *_: None)
    ghosted = ghostify(model)
    assert ghosted.replaced == ()
    assert ghosted.left_alone == {
        '0': 'it is a Special, which does more than a Conv2d',
        **dict.fromkeys('12', 'it shares its weights with another module'),
        **dict.fromkeys('34', 'it has hooks'), '5.primary': 'it is a part of a Ghost module'}
    assert '0 convolutions of 6 replaced' in ghosted.to_text()


def test_ghost_modules_of_others_are_seen():
    from timm.models import create_model
    for name in ('ghostnet_050', 'ghostnetv2_100'):
        ghosted = ghostify(create_model(name))
        assert ghosted.replaced
        assert not any('primary_conv' in one.name for one in ghosted.replaced)


def test_the_prior_of_a_head_stays():
    head = MODELS.build(dict(type='mmdet.RetinaHead', num_classes=80, in_channels=16, feat_channels=16))
    head.init_weights()
    ghostify(head)
    scores = head([torch.randn(1, 16, 8, 8)])[0][0].sigmoid()
    assert scores.median().item() == pytest.approx(0.01, rel=0.1)
    assert scores.max() < 0.1


@pytest.mark.parametrize('with_cp', [False, True, 'cheap'])
def test_ghostnet_keeps_its_ghost_modules_and_can_still_be_optimized_and_recomputed(with_cp):
    torch.manual_seed(0)
    model = GhostNet(width=0.5, with_cp=with_cp).double()
    ghosted = ghostify(model, skip=['*.se'])
    assert {one.name for one in ghosted.replaced if not one.name.endswith('.shortcut.2')} == {'conv_stem'}
    assert len(ghosted.replaced) > 4
    plain = GhostNet(width=0.5).double()
    ghostify(plain, skip=['*.se'])
    plain.load_state_dict(model.state_dict())
    image = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for net in (model, plain):
        sum(feature.square().mean() for feature in net(image)).backward()
    for mine, theirs in zip(model.parameters(), plain.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad)
    model.eval()
    with torch.no_grad():
        for fast, slow in zip(optimize(model)(image), model(image)):
            torch.testing.assert_close(fast, slow)


def test_names_in_skip_may_be_of_parts_and_patterns():
    for skip, replaced in ((['0'], {'3'}), (['[03]'], set()), ('3', {'0'}), ([], {'0', '3'})):
        assert {one.name for one in ghostify(small(), skip=skip).replaced} == replaced


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(skip=['7']), "the model has no module '7'; its parts are 0, 1, 2, 3"),
    (dict(ratio=0), 'ratio=0 must be'),
    (dict(dw_size=2), 'dw_size=2 must be an odd'),
    (dict(cheap='negation', ratio=3), 'a map has one negative'),
])
def test_what_is_wrong_is_told_and_nothing_is_changed(arguments, message):
    model = small()
    with pytest.raises(ValueError, match=message):
        ghostify(model, **arguments)
    assert not any(isinstance(module, GhostConv) for module in model.modules())


def test_a_misspelt_name_is_put_right():
    model = nn.ModuleDict(dict(bbox_head=nn.ModuleDict(dict(retina_cls=nn.Conv2d(1, 1, 1)))))
    with pytest.raises(ValueError, match=r"no module 'bbox_head.retina_clss'; did you mean bbox_head.retina_cls"):
        ghostify(model, skip=['bbox_head.retina_clss'])


@pytest.mark.parametrize('model', [nn.Conv2d(3, 4, 1), GhostConv(3, 4, 1), 'resnet18'])
def test_what_is_no_network_is_refused(model):
    with pytest.raises(ValueError, match=f'the model is a {type(model).__name__}; it must be a built network'):
        ghostify(model)


def test_it_is_there_at_the_top():
    assert ghostdet.ghostify is ghostify
