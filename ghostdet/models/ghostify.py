"""Replace the convolutions of a built model by Ghost convolutions."""
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import mmcv.cnn
import torch
from torch import nn

from ghostdet.models.backbones.ghostnetv3 import BranchedGhostModule
from ghostdet.models.ghost_conv import GhostConv


@dataclass(frozen=True)
class Replaced:
    """One replaced convolution: its name, and its parameters before and after."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class Ghosted:
    """What `ghostify` changed in a model, what it left alone, and the model's parameters before and after."""

    replaced: tuple[Replaced, ...]
    left_alone: dict[str, str]  # name of the convolution -> reason
    before: int
    after: int

    def to_text(self) -> str:
        """Return lines for a terminal: replaced convolutions, those left alone (grouped by reason), and the total.

        >>> print(Ghosted((Replaced('conv1', 64, 40),), {'conv2': 'it is skipped'}, 100, 76).to_text())
        conv1: 64 -> 40 parameters
        left alone, it is skipped: conv2
        1 convolution of 2 replaced: 100 -> 76 parameters, 24.0% saved
        """
        lines = [f'{one.name}: {one.before} -> {one.after} parameters' for one in self.replaced]
        by_reason = defaultdict(list)
        for name, why in self.left_alone.items():
            by_reason[why].append(name)
        lines += [f'left alone, {why}: {", ".join(names)}' for why, names in by_reason.items()]
        number, saved = len(self.replaced), 1 - self.after / self.before if self.before else 0.0
        return '\n'.join([*lines,
                          f'{number} convolution{"s" * (number != 1)} of {number + len(self.left_alone)} replaced: '
                          f'{self.before} -> {self.after} parameters, {saved:.1%} saved'])


def ghostify(model: nn.Module, ratio: int = 2, dw_size: int | Sequence[int] = 3, skip: Sequence[str] = (),
             cheap: str = 'depthwise') -> Ghosted:
    """Replace every convolution inside `model` by a `GhostConv`, in place.

    A `GhostConv` takes over the old convolution's biases, its first filters (as primary ones), device, dtype, mode and
    `requires_grad`. A model that was just initialised stays initialised. A trained model must be trained again. The
    parameters are new objects, so build the optimizer afterwards. Grouped and depthwise convolutions, and parts of a
    Ghost module, stay.

    Args:
        ratio, dw_size, cheap: as in `GhostConv`.
        skip: names of modules to leave alone, with everything inside, as in `model.named_modules()`; * stands for
            anything.

    Raises:
        ValueError: an argument or `model` is not allowed, or a name in `skip` fits no module. Nothing was replaced
            then.

    Examples:
        >>> from torchvision.models import resnet18
        >>> print(ghostify(resnet18(), skip=['conv1']).to_text().splitlines()[-1])
        19 convolutions of 20 replaced: 11689512 -> 6132072 parameters, 47.5% saved
    """
    if not isinstance(model, nn.Module) or isinstance(model, nn.Conv2d) or _is_ghost(model):
        raise ValueError(f'the model is a {type(model).__name__}; it must be a built network with convolutions inside')
    skip = [skip] if isinstance(skip, str) else skip
    _check_skip(model, skip)
    # Raises on invalid arguments before anything is replaced.
    GhostConv(1, max(ratio, 1) if isinstance(ratio, int) else 1, 1, ratio=ratio, dw_size=dw_size, cheap=cheap)
    before, replaced, left_alone = _parameters(model), [], {}
    made: dict[nn.Module, GhostConv] = {}  # a convolution used in several places gets one replacement
    for conv, names in _convolutions(model).items():
        why = _reason(model, conv, names, skip)
        if why is None:
            made[conv] = _ghost_of(conv, ratio, dw_size, cheap)
            replaced.append(Replaced(names[0], _parameters(conv), _parameters(made[conv])))
        else:
            left_alone[names[0]] = why
    _replace(model, made)
    return Ghosted(tuple(replaced), left_alone, before, _parameters(model))


def _replace(model: nn.Module, made: dict[nn.Module, GhostConv]) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child in made:
                setattr(parent, name, made[child])


def _convolutions(model: nn.Module) -> dict[nn.Conv2d, list[str]]:
    """Return all convolutions, each with all its names: one per place where it is used."""
    found = defaultdict(list)
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Conv2d):
            found[module].append(name)
    return found


def _reason(model: nn.Module, conv: nn.Conv2d, names: Sequence[str], skip: Sequence[str]) -> str | None:
    """Return why a convolution is left alone; None if it is to be replaced."""
    if any(_covers(pattern, name) for pattern in skip for name in names):
        return 'it is skipped'
    if conv.groups > 1:
        return 'it is grouped or depthwise, where a Ghost module saves nothing'
    if any(_is_ghost(around) for around in _around(model, names[0])):
        return 'it is a part of a Ghost module'
    if type(conv) not in (nn.Conv2d, mmcv.cnn.Conv2d):
        return f'it is a {type(conv).__name__}, which does more than a Conv2d'
    if conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks or conv._backward_pre_hooks:
        return 'it has hooks'
    own = {id(parameter) for parameter in conv.parameters()}
    others = (parameter for other in model.modules() if other is not conv
              for parameter in other.parameters(recurse=False))
    if any(id(parameter) in own for parameter in others):
        return 'it shares its weights with another module'
    return None


def _is_ghost(module: nn.Module) -> bool:
    """Return whether this is a Ghost convolution or a Ghost module, of this package or another one such as timm."""
    own = isinstance(module, (GhostConv, BranchedGhostModule))
    return own or (hasattr(module, 'primary_conv') and hasattr(module, 'cheap_operation'))


def _around(model: nn.Module, name: str) -> Iterator[nn.Module]:
    """Return the modules that contain the module `name`, the outermost first; without the model itself."""
    parts = name.split('.')
    return (model.get_submodule('.'.join(parts[:end])) for end in range(1, len(parts)))


def _covers(pattern: str, name: str) -> bool:
    """Return whether the pattern fits the module's name or the name of a module around it."""
    parts = name.split('.')
    return any(fnmatchcase('.'.join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def _check_skip(model: nn.Module, skip: Sequence[str]) -> None:
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for pattern in skip:
        if not any(fnmatchcase(name, pattern) for name in names):
            close = get_close_matches(pattern, names)
            raise ValueError(f'skip: the model has no module {pattern!r}'
                             + (f'; did you mean {", ".join(close)}?' if close else
                                f'; its parts are {", ".join(name for name, _ in model.named_children())}'))


def _ghost_of(conv: nn.Conv2d, ratio: int, dw_size: int | Sequence[int], cheap: str) -> GhostConv:
    ghost = GhostConv(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,
                      bias=conv.bias is not None, padding_mode=conv.padding_mode, device=conv.weight.device,
                      dtype=conv.weight.dtype, ratio=ratio, dw_size=dw_size, cheap=cheap)
    ghost.requires_grad_(conv.weight.requires_grad)
    with torch.no_grad():
        ghost.primary.weight.copy_(conv.weight[:len(ghost.primary.weight)])
        if conv.bias is not None:
            bias = ghost.primary.bias if ghost.bias is None else ghost.bias
            bias.copy_(conv.bias)
            bias.requires_grad_(conv.bias.requires_grad)
    if not conv.weight.is_contiguous():
        ghost.to(memory_format=torch.channels_last)
    return ghost.train(conv.training)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
