"""The backbones of the comparison: torchvision's features from torchvision's file, and nothing after the last tap."""
import sys

import pytest
import torch
import torchvision
from mmdet.registry import MODELS

from ghostdet.errors import PackageError, UserError
from ghostdet.models.backbones import mobilenet
from ghostdet.weights.initializer import load_into
from tests.foreign_networks import randomised

V2 = dict(type='TruncatedMobileNetV2', out_indices=(1, 2, 4, 6))
V3 = dict(type='TruncatedMobileNetV3', arch='large', out_indices=(3, 6, 12, 15))
CASES = [(V2, torchvision.models.mobilenet_v2, (3, 6, 13, 17)),
         (V3, torchvision.models.mobilenet_v3_large, (3, 6, 12, 15))]


@pytest.fixture(scope='module', params=CASES, ids=['V2', 'V3'])
def case(request):
    options, build, taps = request.param
    return MODELS.build(options), randomised(build()).eval(), taps


def test_torchvisions_file_gives_torchvisions_features(case, tmp_path):
    backbone, reference, taps = case
    torch.save(reference.state_dict(), tmp_path / 'file.pth')
    coverage = load_into(backbone, str(tmp_path / 'file.pth'))
    assert coverage.received == coverage.wanted > 200
    assert 'of torchvision' in coverage.to_text()
    backbone.double().eval()
    x = torch.randn(2, 3, 96, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = backbone(x)
        expected, y = [], x
        reference.double()
        for index, layer in enumerate(reference.features):
            y = layer(y)
            expected += [y] if index in taps else []
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 0.01
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-9 * float(theirs.abs().max()))
    assert [x.shape[-1] // feature.shape[-1] for feature in found] == [4, 8, 16, 32]


def test_a_file_of_the_other_network_or_with_a_tensor_missing_is_refused(case, tmp_path):
    backbone, reference, _ = case
    state = reference.state_dict()
    del state['features.5.' + ('conv.3.bias' if 'V2' in type(backbone).__name__ else 'block.2.fc2.bias')]
    torch.save(state, tmp_path / 'file.pth')
    with pytest.raises(UserError,
                       match=r'MobileNetV\d of torchvision.*(layer3\.1\.linear_conv\.bn\.bias|layer5\.se\.conv2)'):
        load_into(backbone, str(tmp_path / 'file.pth'))
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / 'file.pth')
    with pytest.raises(UserError, match=r'0 of \d+ tensors'):
        load_into(backbone, str(tmp_path / 'file.pth'))


def test_every_parameter_gets_a_gradient(case):
    backbone = MODELS.build(V2 if 'V2' in type(case[0]).__name__ else V3)
    sum(feature.mean() for feature in backbone(torch.randn(1, 3, 64, 64))).backward()
    assert [name for name, value in backbone.named_parameters() if value.grad is None] == []


def test_the_taps_may_end_earlier():
    backbone = MODELS.build({**V2, 'out_indices': (1, 2)})
    assert not any(name.startswith(('layer4', 'conv2')) for name, _ in backbone.named_parameters())
    assert [feature.shape[1] for feature in backbone(torch.randn(1, 3, 64, 64))] == [24, 32]


@pytest.mark.parametrize('kind', ['TruncatedMobileNetV3', 'TruncatedShuffleNetV2'])
def test_mmpretrain_is_asked_for_when_its_backbone_is_built(kind, monkeypatch):
    mobilenet._truncated.cache_clear()
    monkeypatch.setitem(sys.modules, 'mmpretrain.models.backbones', None)
    with pytest.raises(PackageError, match=r'needs mmpretrain.* pip install "ghostdet\[train\]"'):
        MODELS.build(dict(type=kind, out_indices=(0, 1)))
    assert MODELS.build(V2)
