"""The Ghost module as a convolution: shapes, linearity, what it costs, and what it is inside of MMDetection."""
import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule, build_conv_layer
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.registry import DefaultScope
from torch import nn

from ghostdet.models.cheap import CHEAP, Depthwise, Shift
from ghostdet.models.ghost_conv import GhostConv
from tests.conftest import ROOT, examples

DOCS = ROOT / 'docs/how-to/ghost-convolutions.md'
CHEAPS = [dict(cheap='depthwise'), dict(cheap='depthwise', dw_size=5, ratio=4), dict(cheap='depthwise', dw_size=1),
          dict(cheap='mixed', dw_size=(1, 3, 7), ratio=3), dict(cheap='shift'), dict(cheap='shift', dw_size=5, ratio=4),
          dict(cheap='negation')]


@st.composite
def convolutions(draw):
    """Arguments that nn.Conv2d takes, and the size of an image that is large enough for them."""
    pair = st.tuples(st.integers(1, 5), st.integers(1, 5))
    kernel, dilation = draw(pair), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3))))
    paddings = [st.integers(0, 3), st.tuples(st.integers(0, 3), st.integers(0, 3)), st.just('valid')]
    padding = draw(st.one_of(*paddings, *([st.just('same')] if stride in (1, (1, 1)) else [])))
    arguments = dict(
        in_channels=draw(st.integers(1, 9)), out_channels=draw(st.integers(1, 13)), kernel_size=kernel, stride=stride,
        padding=padding, dilation=dilation, bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(['zeros', 'replicate'])))
    sides = [dilation[axis] * (kernel[axis] - 1) + 1 + draw(st.integers(0, 6)) for axis in (0, 1)]
    return arguments, sides


@examples(150)
@given(convolutions(), st.sampled_from(CHEAPS))
def test_in_the_place_of_any_convolution(case, ghost):
    arguments, sides = case
    conv, image = nn.Conv2d(**arguments).double(), torch.randn(2, arguments['in_channels'], *sides, dtype=torch.float64)
    layer = GhostConv(**arguments, **ghost).double()
    assert layer(image).shape == conv(image).shape
    torch.testing.assert_close(layer(image[0]), layer(image)[0])  # without a batch, as Conv2d takes it
    same = GhostConv(**arguments, ratio=1).double()
    same.primary.load_state_dict(conv.state_dict())
    assert same.cheap is None
    assert torch.equal(same(image), conv(image))


@pytest.mark.parametrize('ghost', CHEAPS, ids=str)
def test_it_is_linear_and_every_parameter_learns(ghost):
    layer = GhostConv(4, 11, 3, padding=1, bias=False, **ghost).double()
    a, b = torch.randn(2, 1, 4, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(2 * a - 3 * b), 2 * layer(a) - 3 * layer(b))
    layer(a).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_first_come_the_primary_maps_then_what_is_made_of_each():
    # 3 primary maps, 2 of each, and the ninth is cut
    layer = GhostConv(3, 8, 3, padding=1, ratio=3, bias=False).double()
    image = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    maps, primary = layer(image), layer.primary(image)
    assert torch.equal(maps[:, :3], primary)
    for index in range(5):
        alone = torch.nn.functional.conv2d(primary[:, index // 2:index // 2 + 1], layer.cheap.weight[index:index + 1],
                                           padding=1)
        torch.testing.assert_close(maps[:, 3 + index:4 + index], alone)


def test_every_map_has_its_own_bias_as_in_a_convolution():
    layer, image = GhostConv(3, 7, 3).double(), torch.randn(1, 3, 6, 6, dtype=torch.float64)
    without, bias = layer(image), torch.arange(7, dtype=torch.float64)
    layer.bias.data = bias
    torch.testing.assert_close(layer(image), without + bias[:, None, None])
    assert GhostConv(3, 7, 3, bias=False).bias is None


@pytest.mark.parametrize(('channels', 'ratio', 'primary', 'times'),
                         [(8, 3, 3, 2), (3, 10, 1, 2), (1, 4, 1, 0), (5, 4, 2, 2)])
def test_no_more_is_made_than_there_are_channels_for(channels, ratio, primary, times):
    layer = GhostConv(2, channels, 1, ratio=ratio)
    assert (layer.primary.out_channels, layer.times) == (primary, times)
    assert layer.cheap is None if not times else len(layer.cheap.weight) == primary * times
    assert layer(torch.randn(1, 2, 4, 4)).shape[1] == channels


def test_mixed_is_a_depthwise_of_each_size_on_its_share():
    layer = GhostConv(3, 10, 1, cheap='mixed', dw_size=(3, 5), bias=False)
    assert [part.weight.shape for part in layer.cheap.parts] == [(3, 1, 3, 3), (2, 1, 5, 5)]
    image = torch.randn(1, 3, 6, 6)
    primary = layer.primary(image)
    assert torch.equal(layer(image)[:, 5:8], layer.cheap.parts[0](primary[:, :3]))
    assert torch.equal(layer(image)[:, 8:], layer.cheap.parts[1](primary[:, 3:]))


def test_shift_moves_each_share_by_one_pixel_in_its_direction_and_siblings_apart():
    image = torch.zeros(1, 8, 5, 5)
    image[:, :, 2, 2] = 1
    moved = Shift(8, 2, 3)(image)
    places = [divmod(int(one.argmax()), 5) for one in moved[0]]
    assert moved.sum() == 16
    assert set(places[::2]) == set(places[1::2]) == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)} - {(2, 2)}
    assert all(places[index] != places[index + 1] for index in range(0, 16, 2))


def test_negation_gives_opposites():
    layer, image = GhostConv(3, 5, 3, cheap='negation'), torch.randn(1, 3, 6, 6)
    assert torch.equal(layer(image)[:, 3:], -layer(image)[:, :2])
    assert sum(parameter.numel() for parameter in layer.parameters()) == 3 * 3 * 9 + 5


def test_a_new_operation_is_registered_by_name():
    @CHEAP.register_module('half')
    class Half(nn.Module):
        def __init__(self, channels, times, dw_size):
            super().__init__()
            self.times = times

        def forward(self, x):
            return x.repeat_interleave(self.times, dim=1) / 2
    try:
        layer = build_conv_layer(dict(type='GhostConv', cheap='half', ratio=3), 4, 9, 1)
        image = torch.randn(1, 4, 2, 2)
        assert torch.equal(layer(image)[:, 3:5], layer(image)[:, :1].expand(-1, 2, -1, -1) / 2)
    finally:
        CHEAP.module_dict.pop('half')


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(groups=2), 'groups=2: the cheap operation would cost as much'),
    (dict(ratio=0), 'ratio=0 must be an integer of at least 1'),
    (dict(ratio=True), 'ratio=True must be an integer'),
    (dict(dw_size=4), "cheap='depthwise': dw_size=4 must be an odd integer"),
    (dict(dw_size=(3, 5)), r"cheap='depthwise': dw_size=\(3, 5\) must be an odd integer"),
    (dict(cheap='mixed'), "cheap='mixed': dw_size=3 must be a sequence of at least two sizes"),
    (dict(cheap='mixed', dw_size=(3, 4)), "cheap='mixed': dw_size=4 must be an odd"),
    (dict(cheap='negation', ratio=3), "cheap='negation': a map has one negative, but 2 are needed: use ratio=2"),
    (dict(cheap='shift', dw_size=1), "cheap='shift': dw_size=1 has 0 shift directions"),
    (dict(cheap='magic'), "no cheap operation 'magic'; use one of depthwise, mixed, shift, negation"),
    (dict(cheap='magic', ratio=1), 'no cheap operation'),
    (dict(cheap=dict(type='shift')), "no cheap operation {'type': 'shift'}"),
    (dict(out_channels=-1), 'out_channels=-1 must be at least 1'),
])
def test_what_is_wrong_is_told(arguments, message):
    with pytest.raises(ValueError, match=f'GhostConv: .*{message}'):
        GhostConv(**{**dict(in_channels=4, out_channels=8, kernel_size=3), **arguments})


def test_depthwise_separable_blocks_are_refused_with_the_reason():
    with pytest.raises(ValueError, match='Remove conv_cfg where groups are used'):
        DepthwiseSeparableConvModule(8, 8, 3, conv_cfg=dict(type='GhostConv'))


@pytest.mark.parametrize('scope', [None, 'mmdet', 'mmpretrain'])
def test_conv_module_reads_it_like_a_convolution(scope):
    with DefaultScope.overwrite_default_scope(scope):  # None leaves it as it is
        ghost = ConvModule(6, 9, 3, stride=2, padding=1, dilation=2, conv_cfg=dict(type='GhostConv'),
                           norm_cfg=dict(type='BN'))
    assert isinstance(ghost.conv, GhostConv)
    plain = ConvModule(6, 9, 3, stride=2, padding=1, dilation=2, norm_cfg=dict(type='BN'))
    for name in ('in_channels', 'out_channels', 'kernel_size', 'stride', 'padding', 'dilation', 'transposed',
                 'output_padding', 'groups'):
        assert getattr(ghost, name) == getattr(plain, name)
    assert ghost.conv.bias is ghost.conv.primary.bias is None
    assert ghost(torch.randn(2, 6, 8, 8)).shape == plain(torch.randn(2, 6, 8, 8)).shape


def test_initial_weights_of_detectors_leave_cheap_maps_as_large_as_primary_ones():
    conv_cfg = dict(type='GhostConv')
    head = MMDET_MODELS.build(dict(type='mmdet.RetinaHead', num_classes=3, in_channels=64, feat_channels=64,
                                   conv_cfg=conv_cfg))
    neck = MMDET_MODELS.build(dict(type='mmdet.FPN', in_channels=[64], out_channels=64, num_outs=1, conv_cfg=conv_cfg))
    for part, layers in ((head, head.cls_convs), (neck, neck.fpn_convs)):
        part.init_weights()
        assert layers
        for layer in layers:
            maps = layer.conv(torch.randn(4, 64, 16, 16))
            assert 0.5 < maps[:, 32:].std() / maps[:, :32].std() < 2
    assert head.cls_convs[0].conv.primary.weight.std().item() == pytest.approx(0.01, rel=0.05)  # the head's own way


def test_what_reads_the_weight_of_a_convolution_learns_why_there_is_none():
    with pytest.raises(AttributeError, match='no single weight; its parts primary and cheap have their own'):
        GhostConv(4, 8, 3).weight  # noqa: B018
    assert not hasattr(GhostConv(4, 8, 3), 'weight')


def test_on_another_device_and_in_another_type():
    layer = GhostConv(4, 8, 3, device='meta', dtype=torch.float64)
    assert {(parameter.device.type, parameter.dtype) for parameter in layer.parameters()} == {('meta', torch.float64)}


def test_the_docs_are_right():
    try:
        result = doctest.testfile(str(DOCS), module_relative=False)
    finally:
        CHEAP.module_dict.pop('blur', None)
    assert result.attempted > 5
    assert result.failed == 0


def test_weights_of_the_cheap_operation_keep_the_variance():
    maps = Depthwise(256, 1, 3)(torch.randn(4, 256, 32, 32))[..., 1:-1, 1:-1]
    assert maps.std().item() == pytest.approx(1, rel=0.1)


GHOST = dict(conv_cfg=dict(type='GhostConv'))
LEVELS = [(8, 32), (16, 16), (32, 8)]  # channels and side of three feature maps
PARTS = [
    (dict(type='ResNet', depth=18, base_channels=8, **GHOST), 'image', set()),
    (dict(type='ResNetV1d', depth=50, base_channels=8, stem_channels=8, **GHOST), 'image', set()),
    (dict(type='Darknet', depth=53, **GHOST), 'image', set()),
    (dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125, **GHOST), 'image', set()),
    (dict(type='FPN', in_channels=[8, 16, 32], out_channels=8, num_outs=5, add_extra_convs='on_input', **GHOST),
     'levels', set()),
    (dict(type='PAFPN', in_channels=[8, 16, 32], out_channels=8, num_outs=3, **GHOST), 'levels', set()),
    (dict(type='YOLOV3Neck', num_scales=3, in_channels=[32, 16, 8], out_channels=[16, 8, 8], **GHOST), 'levels', set()),
    (dict(type='YOLOXPAFPN', in_channels=[8, 16, 32], out_channels=8, num_csp_blocks=1, **GHOST), 'levels', set()),
    (dict(type='RetinaHead', num_classes=3, in_channels=8, feat_channels=8, **GHOST), 'maps',
     {'retina_cls', 'retina_reg'}),
    (dict(type='FCOSHead', num_classes=3, in_channels=8, feat_channels=8, norm_cfg=dict(type='BN'), strides=[8, 16, 32],
          **GHOST),
     'maps', {'conv_cls', 'conv_reg', 'conv_centerness'}),
    (dict(type='YOLOXHead', num_classes=3, in_channels=8, feat_channels=8, **GHOST), 'maps',
     {f'multi_level_conv_{kind}.{level}' for kind in ('cls', 'reg', 'obj') for level in range(3)}),
    (dict(type='YOLOV3Head', num_classes=3, in_channels=[8, 8, 8], out_channels=[8, 8, 8], **GHOST), 'maps',
     {f'convs_pred.{level}' for level in range(3)}),
]
INPUTS = dict(image=lambda: torch.randn(2, 3, 64, 64),
              levels=lambda: [torch.randn(2, c, side, side) for c, side in LEVELS],
              maps=lambda: [torch.randn(2, 8, side, side) for _, side in LEVELS])


@pytest.mark.parametrize(('cfg', 'kind', 'plain'), PARTS, ids=[cfg['type'] for cfg, _, _ in PARTS])
def test_every_part_of_mmdetection_that_takes_a_conv_cfg(cfg, kind, plain):
    part = MMDET_MODELS.build(dict(cfg, type=f'mmdet.{cfg["type"]}'))
    part.init_weights()
    part.train()
    outputs = part(INPUTS[kind]())
    flat = [output for group in outputs for output in (group if isinstance(group, (list, tuple)) else [group])]
    sum(output.square().mean() for output in flat).backward()
    inside = [name for name, module in part.named_modules() if isinstance(module, GhostConv)]
    assert inside
    outside = {name for name, module in part.named_modules()
               if isinstance(module, nn.Conv2d) and not name.endswith('.primary')}
    assert outside == plain
    assert all(part.get_submodule(name).primary.weight.grad is not None for name in inside)
