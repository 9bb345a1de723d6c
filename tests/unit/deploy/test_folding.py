"""Folded networks give what the networks give, have no branches and no norms, and cannot be trained."""
import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ghostdet import GhostNet, GhostNetV2, GhostNetV3, RepGhostNet
from ghostdet.deploy import fold, optimize
from ghostdet.errors import UserError
from ghostdet.models.branches import Branched
from ghostdet.models.fast_ghostnet import FastGhostNet
from tests.closed_form import filled, image
from tests.conftest import ROOT
from tests.family import ALL, NETWORKS, names

every_network = pytest.mark.parametrize('network', NETWORKS, ids=names)

# Of the largest value. Some 100 layers in a row each round by 6e-8 of it in float32: 6e-6, and a margin of 16.
BOUND = {torch.float32: 1e-4, torch.float64: 1e-9}


def count(model, kind):
    return sum(isinstance(module, kind) for module in model.modules())


def branches(model):
    """How many branches each sum of a network has."""
    sums = [(module, name) for module in model.modules() if isinstance(module, Branched) for name in module.sums]
    return [number for module, name in sums if (number := len(module.branches(name)))]


def assert_same(model, other, x):
    assert_close(other(x), model(x), x.dtype)


def assert_close(outputs, expected, dtype):
    for ours, theirs in zip(outputs, expected, strict=True):
        assert (ours - theirs).abs().max() <= BOUND[dtype] * theirs.abs().max()


@every_network
@torch.no_grad()
def test_outputs_agree(network):
    model, x = filled(network(0.25, out_indices=ALL)), image(64, 75)
    before = copy.deepcopy(model.state_dict())
    assert_same(model, fold(model), x)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model, x = model.float(), x.float()
    expected = model(x)
    for copied in (fold(model), optimize(model)):
        assert_close(copied(x), expected, x.dtype)


@pytest.mark.parametrize(('network', 'sums', 'convolutions'), [
    # A GhostNet has 94 convolutions; attention has 3, in 14 of 16 bottlenecks. V3 has four sums of 3, 5, 3 and 5
    # branches a bottleneck, and one of 4 where the stride is 2. RepGhost has two sums of 2.
    (GhostNet, [], 94), (GhostNetV2, [], 94 + 3 * 14), (GhostNetV3, 16 * [3, 5, 3, 5] + 4 * [4], 94 + 3 * 14),
    (RepGhostNet, 32 * [2], 94)], ids=names)
def test_no_branch_and_no_norm_is_left(network, sums, convolutions):
    model = network(0.25, out_indices=ALL)
    assert sorted(branches(model)) == sorted(sums)
    folded = fold(model)
    assert branches(folded) == len(sums) * [1]
    assert (count(folded, nn.Conv2d), count(folded, _BatchNorm)) == (convolutions, 0)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert (folded.out_channels, folded.out_strides) == (model.out_channels, model.out_strides)


@pytest.mark.parametrize('network', [GhostNet, RepGhostNet], ids=names)
def test_a_folded_network_cannot_be_trained(network):
    folded = fold(network(0.25, out_indices=(0,)))
    with pytest.raises(UserError, match='is folded for inference and cannot be trained'):
        folded.train()
    with pytest.raises(UserError, match='Train the network that it was made from'):
        nn.Sequential(copy.deepcopy(folded)).train()
    folded.eval()


@torch.no_grad()
def test_folding_again_changes_nothing():
    once = fold(filled(GhostNetV3(0.25)))
    twice = fold(once)
    assert once.state_dict().keys() == twice.state_dict().keys()
    assert_same(once, twice, image(32, 64))


@pytest.mark.parametrize(('network', 'norm_cfg'), [
    (GhostNetV3, dict(type='GN', num_groups=2)), (RepGhostNet, dict(type='BN', track_running_stats=False))], ids=names)
@torch.no_grad()
def test_norms_without_statistics_are_refused_and_stay_where_the_copy_is_optimized(network, norm_cfg):
    model = filled(network(0.25, norm_cfg=norm_cfg))
    with pytest.raises(ValueError, match=r'\d+ sums of branches cannot be folded, such as blocks\.0\.0\.ghost1\.'):
        fold(model)
    assert_same(model, optimize(model), image(64, 64))


@torch.no_grad()
def test_branches_that_are_watched_stay():
    model = filled(RepGhostNet(0.25))
    model.blocks[1][0].ghost1.fusion_bn[0].register_forward_hook(lambda module, inputs, output: output + 1)
    with pytest.raises(ValueError, match=r'^1 sums .* such as blocks\.1\.0\.ghost1\.cheap'):
        fold(model)
    assert_same(model, optimize(model), image(64, 64))


@pytest.mark.parametrize('ratio', [2, 3])
@pytest.mark.parametrize('make', [fold, optimize])
def test_recomputing_ends_with_folding(make, ratio):
    model = filled(GhostNet(0.25, ratio=ratio, with_cp=True, out_indices=(1,)))
    assert_close(make(model)(image(64, 64)), [feature.detach() for feature in model(image(64, 64))], torch.float64)


@torch.no_grad()
def test_a_folded_ghostnet_can_be_optimized():
    model = filled(GhostNet(0.25))
    assert isinstance(optimize(fold(model)), FastGhostNet)
    assert_same(model, optimize(fold(model)), image(64, 64))


@torch.no_grad()
def test_what_has_no_branches_is_folded_too():
    model = filled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    folded = fold(model)
    assert count(folded, _BatchNorm) == 0
    assert_same(model, folded, image(9, 9))


@pytest.fixture(scope='module')
def detector():
    """RetinaNet with a backbone that has attention and branches."""
    cfg = Config.fromfile(ROOT / 'configs/retinanet_ghostnet_1.1x_mini.py').model
    cfg.backbone = dict(type='GhostNetV3', width=0.25)
    cfg.neck.in_channels = list(GhostNetV3(0.25).out_channels)
    init_default_scope('mmdet')
    return filled(MODELS.build(cfg)).float()


@torch.no_grad()
def test_a_detector_is_folded(detector):
    folded = fold(detector)
    assert count(folded.backbone, _BatchNorm) == 0
    assert set(branches(folded)) == {1}
    x = image(64, 96).float()
    assert_same(lambda x: detector.neck(detector.backbone(x)), lambda x: folded.neck(folded.backbone(x)), x)
    with pytest.raises(UserError, match='cannot be trained'):
        folded.train()
