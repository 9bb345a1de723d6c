"""The copy for inference gives what the network gives, and leaves the network as it was."""
import copy
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ghostdet.deploy import optimize
from ghostdet.models import fast_ghostnet as deployed
from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.fast_ghostnet import FastGhostNet
from ghostdet.models.folding import fold_batch_norm
from tests.conftest import ROOT, examples

# Of the largest value. Some 100 layers in a row each round by 6e-8 of it in float32: 6e-6, and a margin of 16.
BOUND = {torch.float32: 1e-4, torch.float64: 1e-9}


def lived_in(model, seed=0):
    """The model with statistics and weights of batch norm that are not those of a new one, in evaluation mode."""
    torch.manual_seed(seed)
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            nn.init.normal_(norm.running_mean, std=0.1)
            for value in (norm.running_var, norm.weight):
                nn.init.uniform_(value, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
    model.eval()
    return model


def assert_same(model, fast, x):
    with torch.no_grad():
        for expected, output in zip(flat(model(x)), flat(fast(x)), strict=True):
            assert output.shape == expected.shape
            assert (output - expected).abs().max() <= BOUND[x.dtype] * expected.abs().max()


def test_batch_norm_within_sequences_is_folded():
    model = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1, bias=False),
                                   nn.BatchNorm2d(5)))
    fast = optimize(model)
    assert not any(isinstance(module, _BatchNorm) for module in fast.modules())
    assert_same(model, fast, torch.randn(2, 3, 8, 8))


class NormAndReLU(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


class Doubled(nn.Sequential):
    def forward(self, x):
        return super().forward(2 * x)


def hooked(norm):
    norm.register_forward_hook(lambda module, inputs, output: output + 1)
    return norm


@pytest.mark.parametrize('model', [
    nn.Sequential(nn.Conv2d(3, 3, 1), NormAndReLU(3)), nn.Sequential(nn.Conv2d(3, 3, 1), hooked(nn.BatchNorm2d(3))),
    nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
    Doubled(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))],
    ids=['own forward', 'hook', 'no statistics', 'own sequence'])
def test_layers_that_are_not_ordinary_stay(model):
    for norm in model.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            nn.init.normal_(norm.running_mean)
    model.eval()
    assert_same(model, optimize(model), torch.randn(2, 3, 8, 8))


def test_a_norm_in_training_mode_stays():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    fold_batch_norm(model)
    assert isinstance(model[1], nn.BatchNorm2d)


def test_a_convolution_with_two_norms_becomes_two():
    shared = nn.Conv2d(3, 3, 1)
    model = lived_in(nn.Sequential(nn.Sequential(shared, nn.BatchNorm2d(3)), nn.Sequential(shared, nn.BatchNorm2d(3))))
    fast = optimize(model)
    assert not any(isinstance(module, _BatchNorm) for module in fast.modules())
    assert_same(model, fast, torch.randn(2, 3, 8, 8))
    assert model[0][0] is model[1][0]  # of the model itself it is still one


def flat(outputs):
    return [outputs] if isinstance(outputs, torch.Tensor) else [tensor for part in outputs for tensor in flat(part)]


@examples(16)
@given(width=st.sampled_from([0.25, 0.5, 1.0, 1.1]), rounding=st.sampled_from(['torch', 'tensorflow']),
       ratio=st.integers(1, 4), dw_size=st.sampled_from([1, 3, 5]), relu=st.booleans(),
       out=st.sampled_from([(0, 1, 2, 3), (1,), (0, 3, 4), (4,)]),
       dtype=st.sampled_from([torch.float32, torch.float64]), large=st.sampled_from([0, 20_000, 2 ** 40]))
def test_features_of_any_ghostnet(width, rounding, ratio, dw_size, relu, out, dtype, large):
    """With feature maps all in parts, some of them, and none."""
    model = lived_in(GhostNet(width=width, rounding=rounding, ratio=ratio, dw_size=dw_size, shortcut_relu=relu,
                              out_indices=out))
    model.to(dtype)
    fast = optimize(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployed, 'LARGE', large)
        assert_same(model, fast, torch.rand(2, 3, 70, 97, dtype=dtype))
    assert not any(isinstance(module, _BatchNorm) for module in fast.modules()) or ratio == 3


def test_the_default_has_the_form_in_parts_and_declares_what_it_gives():
    model = lived_in(GhostNet(width=1.1))
    fast = optimize(model)
    assert isinstance(fast, FastGhostNet)
    assert (fast.out_channels, fast.out_strides) == (model.out_channels, model.out_strides)
    assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in fast(torch.rand(1, 3, 64, 64)))


@pytest.mark.parametrize('large', [0, 2 ** 40])
def test_in_bfloat16_it_is_no_further_from_full_precision(large, monkeypatch):
    monkeypatch.setattr(deployed, 'LARGE', large)
    model = lived_in(GhostNet(width=0.5))
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        exact = model(x)
        fast = optimize(model).to(torch.bfloat16)(x.to(torch.bfloat16))
        plain = model.to(torch.bfloat16)(x.to(torch.bfloat16))
    for feature, one, other in zip(exact, plain, fast, strict=True):
        assert other.dtype == torch.bfloat16
        assert (other - feature).norm() < 1.3 * (one - feature).norm()


@pytest.mark.parametrize('large', [0, 2 ** 40])
def test_an_input_and_the_model_itself_stay_as_they_are(large, monkeypatch):
    monkeypatch.setattr(deployed, 'LARGE', large)
    model = lived_in(GhostNet(width=0.5))
    model.train()
    before, x = copy.deepcopy(model.state_dict()), torch.rand(1, 3, 64, 64)
    kept, fast = x.clone(), optimize(model)
    first = [feature.clone() for feature in fast(x)]
    second = fast(x)
    assert torch.equal(x, kept)
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in fast.parameters())


@pytest.mark.parametrize('norm_cfg', [dict(type='GN', num_groups=2), dict(type='BN', affine=False)], ids=str)
def test_other_norms(norm_cfg):
    model = GhostNet(width=0.5, norm_cfg=norm_cfg)
    model.eval()
    assert_same(model, optimize(model), torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize('name', ['retinanet_ghostnet_1.1x', 'retinanet_mobilenetv2_1.0x', 'retinanet_mobilenetv3_1.0x',
                                  'faster-rcnn_ghostnet_1.1x'])
def test_raw_outputs_of_detectors(name):
    cfg = Config.fromfile(ROOT / f'configs/{name}_mini.py')
    init_default_scope('mmdet')
    model = lived_in(MODELS.build(cfg.model))
    head = 'rpn_head' if name.startswith('faster') else 'bbox_head'
    fast = optimize(model)
    assert_same(lambda x: getattr(model, head)(model.neck(model.backbone(x))),
                lambda x: getattr(fast, head)(fast.neck(fast.backbone(x))), torch.rand(1, 3, 96, 128))


def test_regions_of_two_stages():
    """mmcv's RoIAlign reads other values where channels come last."""
    cfg = Config.fromfile(ROOT / 'configs/faster-rcnn_ghostnet_1.1x_mini.py')
    init_default_scope('mmdet')
    model = lived_in(MODELS.build(cfg.model))
    rois = torch.tensor([[0, 3.0, 5.0, 90.0, 80.0], [1, 10.0, 2.0, 40.0, 60.0], [1, 0.0, 0.0, 128.0, 96.0]])

    def raw(net):
        return lambda x: [net.roi_head._bbox_forward(net.neck(net.backbone(x)), rois)[key]
                          for key in ('cls_score', 'bbox_pred')]
    fast = optimize(model)
    assert_same(raw(model), raw(fast), torch.rand(2, 3, 96, 128))
    assert_same(raw(fast), raw(copy.deepcopy(fast)), torch.rand(2, 3, 96, 128))


class Shared(nn.Module):
    """One convolution in two blocks with own norms, as in detection heads that share weights between levels."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(ConvModule(4, 4, 1, norm_cfg=dict(type='BN')) for _ in range(2))
        self.blocks[1].conv = self.blocks[0].conv

    def forward(self, x):
        return [block(x) for block in self.blocks]


def test_a_convolution_that_two_norms_share_is_left_alone():
    model = lived_in(Shared())
    assert_same(model, optimize(model), torch.rand(1, 4, 8, 8))


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which('g++'), reason='torch.compile makes C++ for g++')
def test_compiled():
    model = lived_in(GhostNet(width=0.25, out_indices=(0, 1)))
    assert_same(model, optimize(model, compile=True), torch.rand(1, 3, 64, 64))
