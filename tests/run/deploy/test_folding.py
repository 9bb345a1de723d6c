"""Folded networks give what the networks give, have no branches and no norms, and cannot be trained."""
from collections import Counter

import onnx
import onnxruntime
import torch
from torch import nn

from ghostdet.deploy import fold
from ghostdet.deploy.convert import to_onnx
from ghostdet.infer.manifest import Manifest
from tests.family import NETWORKS
from tests.foreign_networks import randomised
from tests.unit.deploy.test_folding import count


class LastBlocks(nn.Module):
    """In place of a detector's program: the block with stride 32 of the networks with attention or branches."""

    def __init__(self):
        super().__init__()
        blocks = [randomised(network(0.25, out_indices=(3,)), seed).blocks[7][0]
                  for seed, network in enumerate(NETWORKS[1:])]
        self.patches = nn.Conv2d(3, blocks[0].shortcut[0].in_channels, 32, 32)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image, size):
        x = self.patches(image.permute(0, 3, 1, 2) / size.max())
        return tuple(block(x) for block in self.blocks)


@torch.no_grad()
def test_exported_blocks_have_no_branches_and_take_any_size(tmp_path):
    """Down to one pixel, where attention has nothing to average."""
    program = LastBlocks().eval()
    manifest = Manifest('', (), None, (64, 64), True, 32, (), (), True, 0, 'fp32', '', {})
    to_onnx(program, manifest, tmp_path / 'a.onnx')
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / 'a.onnx').graph.node)
    assert kinds['BatchNormalization'] == 0
    assert kinds['Conv'] == count(fold(program), nn.Conv2d)
    session = onnxruntime.InferenceSession(tmp_path / 'a.onnx')
    for height, width in ((32, 32), (32, 96), (160, 64)):
        pixels, size = torch.randint(256, (1, height, width, 3), dtype=torch.uint8), torch.tensor([height, width])
        features = session.run(None, dict(image=pixels.numpy(), size=size.numpy()))
        for expected, feature in zip(program(pixels, size), features, strict=True):
            assert (torch.from_numpy(feature) - expected).abs().max() < 1e-4 * expected.abs().max()
