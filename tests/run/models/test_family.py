"""What GhostNet and its successors share: outputs, freezing, norms, arguments, and the rest of the framework."""
import torch

from tests.closed_form import filled, image
from tests.unit.models.test_family import SMALL, every_network


@every_network
def test_channels_last_autocast_compile_and_export(network):
    # the first blocks have all that is special about a network
    model, x = filled(network(SMALL, out_indices=(0,))), image(64, 64)
    plain = model(x)
    wide = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in wide)
    exported = torch.export.export(model, (x,)).module()(x)
    compiled = torch.compile(model, fullgraph=True, backend='eager')(x)
    for other in (wide, exported, compiled):
        for feature, expected in zip(other, plain, strict=True):
            torch.testing.assert_close(feature, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        low = model.float()(x.float())
    assert all(torch.isfinite(feature).all() and feature.shape == p.shape for feature, p in zip(low, plain))
