"""GhostNet and its successors, and timm's models of them."""
import torch
from timm.models.ghostnet import _create_ghostnet
from timm.models.repghost import _create_repghostnet

from ghostdet import GhostNet, GhostNetV2, GhostNetV3, RepGhostNet

NETWORKS = (GhostNet, GhostNetV2, GhostNetV3, RepGhostNet)
ALL = (0, 1, 2, 3, 4)
# Variants that timm has, and GhostNet 1.1x.
WIDTHS = {GhostNet: (0.5, 1.0, 1.1, 1.3), GhostNetV2: (1.0, 1.3, 1.6), GhostNetV3: (0.5, 1.0, 1.3, 1.6),
          RepGhostNet: (0.5, 0.58, 0.8, 1.0, 1.11, 1.3, 1.5, 2.0)}
VERSIONS = {GhostNet: 'v1', GhostNetV2: 'v2', GhostNetV3: 'v3'}
HEAD = 1280  # channels between the last 1x1 convolution and the 1000 classes of the published classifiers


def variants():
    """Every network and width in `WIDTHS`."""
    return [(network, width) for network, widths in WIDTHS.items() for width in widths]


def timm_model(network, width, classes=1000):
    """timm's classifier of a network at any width; its values are to be filled in."""
    with torch.device('meta'):  # spares the random initial values
        if network is RepGhostNet:
            model = _create_repghostnet('repghostnet_100', width=width, num_classes=classes)
        else:
            model = _create_ghostnet('ghostnet_100', width=width, num_classes=classes, version=VERSIONS[network])
    model.to_empty(device='cpu')
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith('num_batches_tracked'):
                value.zero_()
    return model


def timm_taps(model, x):
    """C2..C5 and the last 1x1 convolution: the outputs of the last block of each stride."""
    taken = []
    hooks = [model.blocks[index].register_forward_hook(lambda module, inputs, output: taken.append(output))
             for index in (2, 4, 6, 8, 9)]
    model.forward_features(x)
    for hook in hooks:
        hook.remove()
    return taken


def names(value):
    """Test ids."""
    return getattr(value, '__name__', None)
