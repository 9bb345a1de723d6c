"""Convolutions that are sums of branches in training. `ghostdet.deploy.fold` makes one convolution of each sum."""
from typing import ClassVar

from torch import Tensor, nn


class Branched(nn.Module):
    """A module in which sums of branches take the place of convolutions.

    A branch is a convolution and its norm, or a norm alone.

    Attributes:
        sums: name of a sum -> the attributes with its branches. Each holds a branch, a ModuleList of branches, or None.
    """

    sums: ClassVar[dict[str, tuple[str, ...]]]

    def branches(self, name: str) -> list[nn.Module]:
        """Return the branches of a sum: one in a folded network, none in a block without that sum."""
        held = [getattr(self, attribute, None) for attribute in self.sums[name]]
        lists = [part if isinstance(part, nn.ModuleList) else [part] for part in held if part is not None]
        return [branch for part in lists for branch in part]

    def add_up(self, name: str, x: Tensor) -> Tensor:
        """Apply the branches of a sum to `x`, (N, C_in, H, W), and add their results."""
        first, *others = self.branches(name)
        out = first(x)
        for branch in others:
            out += branch(x)
        return out

    def put_one(self, name: str, convolution: nn.Module) -> None:
        """Replace all branches of a sum by one convolution."""
        first, *others = self.sums[name]
        setattr(self, first,
                nn.ModuleList([convolution]) if isinstance(getattr(self, first), nn.ModuleList) else convolution)
        for attribute in others:
            setattr(self, attribute, None)
