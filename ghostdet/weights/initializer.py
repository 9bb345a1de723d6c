"""Load initial weights into a module: all of its tensors, or raise an error that names the missing ones."""
from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.model.weight_init import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from ghostdet.download import shown
from ghostdet.errors import UserError
from ghostdet.models.family import GhostFamily
from ghostdet.models.networks import NETWORKS
from ghostdet.weights.fitting import Coverage, cover
from ghostdet.weights.layouts import LAYOUTS, below, unwrap
from ghostdet.weights.pretrained import Weights, fitted, read_weights
from ghostdet.weights.reader import split_options
from ghostdet.weights.schemes import load


@WEIGHT_INITIALIZERS.register_module()
class CompletePretrained(PretrainedInit):
    """Load every tensor of a module from a file, or raise an error.

    mmengine's `Pretrained` loads what fits and only logs the rest. Here the file may hold more tensors, such as a
    classifier. The file is read as data: no code in it runs. A GhostNet or successor uses it for `type='Pretrained'`
    too. For other modules, put it last in a list of initializers: those after it change the loaded weights.

    Args:
        checkpoint: path, http(s) URL or `ghostdet://NAME`.
        prefix: prefix of the module's tensor names in the file.

    Raises:
        UserError: the file cannot be found or read, is from another network, misses a tensor, or holds NaN or infinity.

    Examples:
        >>> init_cfg = dict(type='CompletePretrained', checkpoint='ghostdet://mobilenetv2_1.0x')
    """

    def __call__(self, module: nn.Module) -> None:
        """Load the weights into `module`."""
        coverage = load_into(module, self.checkpoint, self.prefix)
        print_log(coverage.to_text(), logger='current')
        if hasattr(module, '_params_init_info'):  # for mmengine's log of how each parameter was initialised
            update_init_info(module, f'{type(self).__name__}: {coverage.name}')
        for part in module.modules():
            if part is not module and hasattr(part, 'init_weights'):
                part.is_init = True  # otherwise mmengine would overwrite the weights with random ones


def load_into(module: nn.Module, checkpoint: str, prefix: str | None = None) -> Coverage:
    """Load initial weights: every tensor of the module, or none.

    Args:
        prefix: prefix of the module's tensor names in the file. A backbone of GhostNet's family inside a detector needs
            none.

    Raises:
        UserError: the file cannot be found or read, is from another network, misses a tensor, or has one with another
            shape or with values that are not finite; the message says which.
    """
    if not isinstance(checkpoint, str):
        raise UserError(f'init_cfg: checkpoint={checkpoint!r} is not a path, an address or a name in ghostdet://')
    in_family, own = isinstance(module, GhostFamily), module.state_dict()
    weights = (_family_weights if in_family else _foreign_weights)(module, checkpoint, prefix)
    coverage = cover(module, weights)
    if not coverage.fits:
        advice = ', or those of a smaller width with ?widen after their name' if in_family else ''
        raise UserError(f'these weights do not fit the {type(module).__name__}: {coverage.to_text()}. Use a file of '
                        f'this network and width{advice}')
    module.load_state_dict({key: weights.state[key] for key in own if key in weights.state}, strict=False)
    return coverage


def _family_weights(backbone: GhostFamily, checkpoint: str, prefix: str | None) -> Weights:
    """Read weights of GhostNet or a successor, and check that they are of the backbone's network."""
    weights = read_weights(checkpoint, prefix)
    layout, own = LAYOUTS[weights.layout], [kind.__name__ for kind in type(backbone).__mro__]
    if NETWORKS[layout.network].type not in own:
        name = next((name for name in own if name in NETWORKS), own[0])
        raise UserError(f'{weights.name} is a {layout.network} file, and the backbone is a {name}: take weights of '
                        f"{name}, or set model.backbone.type='{layout.network}'")
    if weights.shortcut_relu is not None and weights.shortcut_relu != getattr(backbone, 'shortcut_relu', False):
        raise UserError(f'{weights.name} ({layout.label}) is from a network with '
                        f'{"a" if weights.shortcut_relu else "no"} ReLU in its shortcuts: set '
                        f'model.backbone.shortcut_relu={weights.shortcut_relu}')
    if weights.padding is not None and weights.padding != backbone.padding:
        other = '' if weights.padding == 'tensorflow' else (
            ', or nothing in it says otherwise: a network of yours that pads as TensorFlow does has to be saved as '
            "dict(state_dict=..., meta=dict(padding='tensorflow', shortcut_relu=False))")
        raise UserError(f'{weights.name} ({layout.label}) is from a network that pads as '
                        f'{"TensorFlow" if weights.padding == "tensorflow" else "PyTorch"} does{other}. Set '
                        f'model.backbone.padding={weights.padding!r}')
    return fitted(weights, backbone, checkpoint)


def _foreign_weights(module: nn.Module, checkpoint: str, prefix: str | None) -> Weights:
    """Read the tensors of a network that is not of GhostNet's family; with a `prefix`, only those below it.

    The tensors keep their names from the file. If the file has none of the module's names and its layout is known, the
    tensors get the names that MMDetection or mmpretrain uses.
    """
    name = shown(split_options(checkpoint)[0])
    state = below(unwrap(load(checkpoint), name), prefix, name)
    for key, layout in LAYOUTS.items():
        if layout.rename and module.state_dict().keys().isdisjoint(state) and layout.fits(state):
            return Weights(name, key, layout.rename(state))
    return Weights(name, 'its own names', state)
