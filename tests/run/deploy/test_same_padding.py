"""A GhostNet with TensorFlow's SAME padding as a fast copy, and as an exported file."""
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ghostdet.deploy import optimize
from ghostdet.deploy.convert import to_onnx, to_openvino
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.sessions import open_session
from ghostdet.models import fast_ghostnet as deployed
from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.models.fast_ghostnet import FastGhostNet
from tests.run.deploy.test_optimize import assert_same, lived_in


@pytest.mark.parametrize(('options', 'dtype'), [
    (dict(), torch.float32), (dict(), torch.float64), (dict(ratio=1), torch.float32), (dict(ratio=3), torch.float64),
    (dict(shortcut_relu=True, out_indices=(0, 4)), torch.float32)], ids=str)
def test_fast_copies_give_the_same_features(options, dtype, monkeypatch):
    """In parts and whole, on even and odd sizes."""
    model = lived_in(GhostNet(0.5, padding='tensorflow', **options)).to(dtype)
    fast = optimize(model)
    assert isinstance(fast, FastGhostNet) == (options.get('ratio') != 3)
    for large in (0, 2 ** 40):
        monkeypatch.setattr(deployed, 'LARGE', large)
        for size in ((64, 96), (47, 65), (70, 61)):
            x = torch.rand(2, 3, *size, dtype=dtype)
            assert_same(model, fast, x)
            if isinstance(fast, FastGhostNet):
                assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in fast(x))


class Features(nn.Module):
    """C2, C3 and their mean in place of an exported detector's boxes, scores and labels; they have both kernels."""

    def __init__(self):
        super().__init__()
        self.backbone = lived_in(GhostNet(0.25, padding='tensorflow', out_indices=(0, 1)))

    def forward(self, image, size):
        features = self.backbone(image.permute(0, 3, 1, 2) / 255 * size.sum())
        return *features, features[1].mean((2, 3))


def test_exported_files_give_the_same_features(tmp_path):
    """At one size. `test_program.py` exports such a backbone in a detector of any size."""
    program, canvas = Features(), (96, 64)
    manifest = Manifest(detector='', classes=(), canvas=canvas, scale=(96, 64), keep_ratio=True, divisor=32,
                        is_rgb=True,
                        mean=(0, 0, 0), std=(1, 1, 1), score_threshold=0, precision='fp32', config='', versions={})
    to_onnx(program, manifest, tmp_path / 'a.onnx')
    to_openvino(tmp_path / 'a.onnx', manifest, tmp_path / 'a.xml')
    kinds = [node.op_type for node in onnx.load(tmp_path / 'a.onnx').graph.node]
    assert not {'Pad', 'Slice', 'Mod', 'BatchNormalization'} & {*kinds}  # padding is a part of the convolutions
    image, size = np.random.default_rng(0).integers(0, 256, (1, *canvas, 3), np.uint8), np.array(canvas)
    with torch.no_grad():
        expected = program(torch.from_numpy(image), torch.from_numpy(size))
    for name in ('a.onnx', 'a.xml'):
        for feature, output in zip(expected, open_session(tmp_path / name).run(image, size), strict=True):
            assert np.abs(output - feature.numpy()).max() < 1e-4 * feature.abs().max()
