"""Load initial weights into a module: all of its tensors, or raise an error that names the missing ones."""
from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.model.weight_init import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from ghostdet.download import shown
from ghostdet.errors import UserError
from ghostdet.models.family import GhostFamily
from ghostdet.weights.layouts import LAYOUTS, below, unwrap
from ghostdet.weights.pretrained import FAMILY, Coverage, Weights, cover, fitted, read_weights
from ghostdet.weights.schemes import load
from ghostdet.weights.source import split_options


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
        UserError: the file cannot be found or read, is from another network, or misses a tensor; the message says
            which.
    """
    if not isinstance(checkpoint, str):
        raise UserError(f'init_cfg: checkpoint={checkpoint!r} is not a path, an address or a name in ghostdet://')
    if isinstance(module, GhostFamily):
        return load_ghostnet(module, checkpoint, prefix)
    return load_all(module, foreign_weights(checkpoint, set(module.state_dict()), prefix))


def load_ghostnet(backbone: GhostFamily, checkpoint: str, prefix: str | None = None) -> Coverage:
    """Load initial weights of GhostNet or a successor: every tensor of the backbone, or none.

    Raises:
        UserError: the file cannot be found or read, is from another network, or misses a tensor; the message says
            which.
    """
    weights = read_weights(checkpoint, prefix)
    network = LAYOUTS[weights.layout].network
    if not isinstance(backbone, FAMILY.get(network, ())):
        own = next(name for name, kind in FAMILY.items() if isinstance(backbone, kind))
        raise UserError(f'{weights.name} is a {network} file, and the backbone is a {own}: take weights of {own}, or '
                        'set '
                        f"model.backbone.type='{network}'")
    if weights.shortcut_relu is not None and weights.shortcut_relu != getattr(backbone, 'shortcut_relu', False):
        raise UserError(f'{weights.name} ({LAYOUTS[weights.layout].label}) is from a network with '
                        f'{"a" if weights.shortcut_relu else "no"} ReLU in its shortcuts: set '
                        f'model.backbone.shortcut_relu={weights.shortcut_relu}')
    if weights.padding is not None and weights.padding != backbone.padding:
        other = '' if weights.padding == 'tensorflow' else (
            ', or nothing in it says otherwise: a network of yours that pads as TensorFlow does has to be saved as '
            "dict(state_dict=..., meta=dict(padding='tensorflow', shortcut_relu=False))")
        raise UserError(f'{weights.name} ({LAYOUTS[weights.layout].label}) is from a network that pads as '
                        f'{"TensorFlow" if weights.padding == "tensorflow" else "PyTorch"} does{other}. Set '
                        f'model.backbone.padding={weights.padding!r}')
    return load_all(backbone, fitted(weights, backbone, checkpoint))


def load_all(module: nn.Module, weights: Weights) -> Coverage:
    """Load every tensor of `module`.

    Raises:
        UserError: a tensor is missing, has another shape or values that are not finite, or the file is from another
            network.
    """
    coverage = cover(module, weights)
    if not coverage.fits:
        advice = ', or those of a smaller width with ?widen after their name' if isinstance(module, GhostFamily) else ''
        raise UserError(f'these weights do not fit the {type(module).__name__}: {coverage.to_text()}. Use a file of '
                        f'this network and width{advice}')
    own = module.state_dict()
    module.load_state_dict({key: weights.state[key] for key in own if key in weights.state}, strict=False)
    return coverage


def foreign_weights(checkpoint: str, wanted: set[str], prefix: str | None = None) -> Weights:
    """Read the tensors of a network that is not of GhostNet's family; with a `prefix`, only those below it.

    The tensors keep their names from the file. If the file has none of the `wanted` names and its layout is known, the
    tensors get the names that MMDetection or mmpretrain uses.
    """
    name = shown(split_options(checkpoint)[0])
    state = below(unwrap(load(checkpoint), name), prefix, name)
    for key, layout in LAYOUTS.items():
        if layout.rename and wanted.isdisjoint(state) and layout.fits(state):
            return Weights(name, key, layout.rename(state))
    return Weights(name, 'its own names', state)
