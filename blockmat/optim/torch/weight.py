"""What a step asks of a weight with the bias in its blocks, however they are stored.

`WholeWeight` and the classes of `sharded` derive from `Weight`. A gradient or update of a weight
is a list of parts (k, m_i), which hold some members of all blocks: those of the weight and those
of the bias. Parts are divided into own ones, which only this rank has, and common ones, which all
ranks have.
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
    width : int
        The number of members of the weight that a part of this rank has.
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
        width: int,
    ) -> None:
        self.weight, self.bias = weight, bias
        self.n_blocks, self.width = n_blocks, width
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

    def side_by_side(self, parts: Parts) -> Tensor:
        """Return one part with all members, and zeros for those without a gradient."""
        if self.bias is None:
            return parts[0]
        if len(parts) == 1:
            (part,), k = parts, len(parts[0])
            if self.members[0] is self.bias:
                parts = [part.new_zeros(k, self.width), part]
            else:
                parts = [part, part.new_zeros(k, 1)]
        return torch.cat(parts, dim=1)

    def separated(self, joined: Tensor) -> Parts:
        """Return the parts of the members with a gradient, from what `side_by_side` returned."""
        if self.bias is None:
            return [joined]
        weight, bias = joined.tensor_split([-1], dim=1)
        return [bias if member is self.bias else weight for member in self.members]

    @abstractmethod
    def split(self, parts: Parts) -> tuple[Parts, Parts]:
        """Return the own and the common ones of parts, one for each member with a gradient."""

    @abstractmethod
    def split_joined(self, joined: Tensor) -> tuple[Parts, Parts]:
        """Return the own and the common parts of what `side_by_side` returned."""

    @abstractmethod
    def block_sums(self, own: Parts, common: Parts) -> Tensor:
        """Return the sums of all blocks over their members, (k,)."""

    @abstractmethod
    def block_squares(self, own: Parts, common: Parts) -> Tensor:
        """Return the sums of squares of all blocks, (k,)."""

    @abstractmethod
    def add_products(
        self, total: Symmetric, own: Parts, common: Parts, weight: float, decay: float
    ) -> None:
        """Multiply a matrix by `decay`, then add `weight` times the products of all blocks."""

    @abstractmethod
    def length(self, own: Parts, common: Parts, dtype: torch.dtype) -> Tensor:
        """Return the Euclidean length of all parts together."""

    @abstractmethod
    def of_all_members(self, own: Tensor) -> Tensor:
        """Return a vector of all members, from its entries for the columns of `side_by_side`."""

    @abstractmethod
    def of_own_members(self, every: Tensor) -> Tensor:
        """Return the entries of a vector of all members for the columns of `side_by_side`."""


def row_squares(part: Tensor) -> Tensor:
    """Return the sums of squares of the rows of a part, (k,)."""
    squares: Tensor = torch.linalg.vector_norm(part, dim=1).square_()
    return squares


def length_of(tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Return the Euclidean length of tensors together."""
    if len(tensors) == 1:
        length: Tensor = torch.linalg.vector_norm(tensors[0], dtype=dtype)
    else:
        length = lengths_of(tensors, dtype).norm()
    return length


def lengths_of(tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Return the Euclidean length of each tensor."""
    return torch.stack(torch._foreach_norm(tensors, 2, dtype))
