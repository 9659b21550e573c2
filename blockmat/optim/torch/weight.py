"""What a step asks of a weight with the bias in its blocks, however they are stored.

`WholeWeight` and the classes of `sharded` derive from `Weight`. A gradient or update of a weight
is a list of parts (k, m_i), which hold some members of all blocks: those of the weight and those
of the bias.
"""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from blockmat.optim.torch.ranks import ALONE, Alone, Ranks
from blockmat.optim.torch.symmetric import Symmetric
from blockmat.optim.torch.within import Sizes

Parts = list[Tensor]


class Parameter(Protocol):
    """A parameter: what this rank has of it, and tensors that are stored as it is."""

    whole: Tensor  # the parameter of the module, which may be cut over ranks
    own: Tensor  # what this rank has
    ranks: Alone | Ranks

    @property
    def own_gradient(self) -> Tensor:
        """What this rank has of the gradient."""

    def local(self, x: Tensor) -> Tensor:
        """Return what this rank has of a tensor like the parameter."""

    def wrapped(self, own: Tensor) -> Tensor:
        """Return the tensor like the parameter of which this rank has `own`."""

    def whole_of(self, own: Tensor) -> Tensor:
        """Return the tensor of which this rank has `own`, whole on every rank."""

    def own_of(self, whole: Tensor) -> Tensor:
        """Return what this rank has of a whole tensor."""

    def restored(self, x: Tensor) -> Tensor:
        """Return a tensor of a checkpoint, which may be whole or cut, as the parameter is."""


class MemberLayout(Protocol):
    """How what this rank has of a weight or bias becomes a part."""

    def blocks(self, x: Tensor) -> Tensor:
        """Return the part."""

    def entries(self, blocks: Tensor) -> Tensor:
        """Return what `blocks` was made from."""


class Weight(ABC):
    """A weight and the bias in its blocks.

    Parameters
    ----------
    weight : Parameter
        The weight. It or the bias has a gradient.
    bias : Parameter or None
        The bias.
    layouts : tuple
        The layout of the weight and that of the bias.
    n_blocks : int
        The number of blocks.
    sizes : int or Tensor
        The number of members of every block, or of each, without the bias.
    """

    ranks: Alone | Ranks = ALONE
    adds_in_place = False  # whether parts of a contiguous parameter share its memory
    own_blocks = slice(None)  # the blocks that are rows of the parts of this rank

    def __init__(
        self,
        weight: Parameter,
        bias: Parameter | None,
        layouts: tuple[MemberLayout, MemberLayout],
        n_blocks: int,
        sizes: Sizes,
    ) -> None:
        self.weight, self.bias = weight, bias
        self.n_blocks = n_blocks
        self.sizes = sizes + (bias is not None)
        members = [(weight, layouts[0])] if weight.whole.grad is not None else []
        if bias is not None and bias.whole.grad is not None:
            members.append((bias, layouts[1]))
        self.members = [member for member, _ in members]  # those with a gradient
        self.layouts = [layout for _, layout in members]

    def parts(self, own: list[Tensor]) -> Parts:
        """Return tensors like what this rank has of the members as parts."""
        return [layout.blocks(x) for layout, x in zip(self.layouts, own, strict=True)]

    def entries(self, parts: Parts) -> list[Tensor]:
        """Return what `parts` was made from."""
        return [layout.entries(x) for layout, x in zip(self.layouts, parts, strict=True)]

    @abstractmethod
    def block_sums(self, parts: Parts) -> Tensor:
        """Return the sums of all blocks over the members in parts, (k,)."""

    @abstractmethod
    def block_squares(self, parts: Parts) -> Tensor:
        """Return the sums of squares of all blocks, (k,)."""

    @abstractmethod
    def add_products(self, total: Symmetric, parts: Parts, weight: float, decay: float) -> None:
        """Multiply a matrix by `decay`, then add `weight` times the products of all blocks."""


def row_squares(part: Tensor) -> Tensor:
    """Return the sums of squares of the rows of a part, (k,)."""
    squares: Tensor = torch.linalg.vector_norm(part, dim=1).square_()
    return squares
