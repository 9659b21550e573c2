"""Parameters and weights that `torch.distributed.fsdp.fully_shard` has cut along their rows.

If every rank has some members of all blocks (`CutMembers`), sums over members are sums over ranks
of size k and k x k. This holds where blocks are columns. Where they are rows, the weight is cut
along its columns for the step instead. This exchange is left out (`CutBlocks`) if only numbers of
single blocks are needed, which is so for "mean".
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockmat.exceptions import ShapeError
from blockmat.optim.torch.layout import BiasLayout, Layout
from blockmat.optim.torch.ranks import Alone, Ranks, is_sharded
from blockmat.optim.torch.symmetric import Symmetric
from blockmat.optim.torch.weight import (
    MemberLayout,
    Parameter,
    Parts,
    Weight,
    row_squares,
)


class ShardedParameter:
    """A parameter cut along its first dimension over the ranks of a mesh of one dimension.

    Parameters
    ----------
    p : DTensor
        The parameter.
    """

    def __init__(self, p: Any) -> None:
        from torch.distributed.tensor import DTensor, Shard

        if tuple(p.placements) != (Shard(0),):
            raise ShapeError(
                f"a parameter of shape {tuple(p.shape)} is placed as {tuple(p.placements)}; expected "
                f"one that is whole, or cut along its first dimension over a mesh of one"
            )
        self.whole, self.own = p, p.to_local()
        self.ranks: Alone | Ranks = Ranks(p.device_mesh)
        self.mesh = p.device_mesh
        self.n_rows, self.n_columns = p.shape[0], math.prod(p.shape[1:])
        self._tensor = DTensor
        self._rows, self._columns = (Shard(0),), (Shard(1),)

    @property
    def own_gradient(self) -> Tensor:
        """The own rows of the gradient."""
        return self.local(self.whole.grad)

    def local(self, x: Any) -> Tensor:
        """Return the own rows of a tensor like the parameter."""
        own: Tensor = x.to_local()
        return own

    def wrapped(self, own: Tensor) -> Tensor:
        """Return the tensor of which this rank has the rows `own`."""
        return self._cut(own, self._rows, (self.n_rows, *own.shape[1:]))

    def whole_of(self, own: Tensor) -> Tensor:
        """Gather the tensor of which this rank has the rows `own`."""
        whole: Tensor = self.wrapped(own).full_tensor()  # type: ignore[attr-defined]
        return whole

    def own_of(self, whole: Tensor) -> Tensor:
        """Return the own rows of a whole tensor."""
        return self.own_part(whole)

    def restored(self, x: Tensor) -> Tensor:
        """Return a tensor that may be whole, cut as the parameter is."""
        return x if is_sharded(x) else self.wrapped(self.own_part(x).clone())

    def own_members(self, n: int) -> slice:
        """Return which of n members this rank has of each block."""
        size = -(-n // self.mesh.size())
        first = min(size * self.mesh.get_local_rank(), n)
        return slice(first, min(first + size, n))

    def own_part(self, x: Tensor) -> Tensor:
        """Return the own rows of a whole tensor."""
        return x[self.own_members(self.n_rows)]

    def gathered(self, own: Tensor) -> Tensor:
        """Return the whole of a vector with one entry per row."""
        whole: Tensor = self._cut(own, self._rows, (self.n_rows,)).full_tensor()  # type: ignore[attr-defined]
        return whole

    def own_rows_to_columns(self, x: Tensor) -> Tensor:
        """Exchange own rows (n_own, n_columns) for own columns (n_rows, some)."""
        return self._exchanged(x, self._rows, self._columns)

    def own_columns_to_rows(self, x: Tensor) -> Tensor:
        """Exchange own columns for own rows."""
        return self._exchanged(x, self._columns, self._rows)

    def _exchanged(self, x: Tensor, before: Any, after: Any) -> Tensor:
        cut: Any = self._cut(x.contiguous(), before, (self.n_rows, self.n_columns))
        own: Tensor = cut.redistribute(placements=after).to_local()
        return own

    def _cut(self, own: Tensor, placements: Any, size: Sequence[int]) -> Tensor:
        shape = torch.Size(size)
        stride = torch.empty(shape, device="meta").stride()
        cut: Tensor = self._tensor.from_local(
            own, self.mesh, placements, run_check=False, shape=shape, stride=stride
        )
        return cut


class _OwnRows:
    """The own rows of a weight, as blocks or (transposed) as members of blocks."""

    def __init__(self, p: ShardedParameter, is_transposed: bool) -> None:
        self.shape, self.n_columns = p.own.shape, p.n_columns
        self.is_transposed = is_transposed

    def blocks(self, x: Tensor) -> Tensor:
        rows = x.reshape(self.shape[0], self.n_columns)
        return rows.T if self.is_transposed else rows

    def entries(self, blocks: Tensor) -> Tensor:
        return (blocks.T if self.is_transposed else blocks).reshape(self.shape)


class _OwnColumns:
    """Own columns of a weight, for which own rows are exchanged."""

    def __init__(self, p: ShardedParameter) -> None:
        self.p = p

    def blocks(self, x: Tensor) -> Tensor:
        return self.p.own_rows_to_columns(x.reshape(self.p.own.shape[0], self.p.n_columns))

    def entries(self, blocks: Tensor) -> Tensor:
        return self.p.own_columns_to_rows(blocks).reshape(self.p.own.shape)


class _GatheredBias:
    """The whole of a bias, which is cut as its weight is."""

    def __init__(self, p: ShardedParameter) -> None:
        self.p = p

    def blocks(self, x: Tensor) -> Tensor:
        return self.p.gathered(x).unsqueeze(1)

    def entries(self, blocks: Tensor) -> Tensor:
        return self.p.own_part(blocks.squeeze(1))


class CutMembers(Weight):
    """A weight of which each rank has some members of all blocks; all ranks gather the bias.

    Parameters
    ----------
    weight : ShardedParameter
        The weight. It or the bias has a gradient.
    bias : Parameter or None
        The bias.
    layout : Layout
        The blocks of the weight, which are its rows or columns.
    """

    def __init__(self, weight: ShardedParameter, bias: Parameter | None, layout: Layout) -> None:
        assert isinstance(layout.sizes, int)  # blocks with labels are refused
        own: MemberLayout = _OwnRows(weight, is_transposed=True)
        if layout.blocks_are_rows:
            own = _OwnColumns(weight)
        layouts = (own, _GatheredBias(weight))
        super().__init__(weight, bias, layouts, layout.n_blocks, layout.sizes)
        self.ranks = weight.ranks

    def block_sums(self, parts: Parts) -> Tensor:
        """Return the sums of all blocks over the members in parts, (k,)."""
        own, common = self._split(parts)
        sums = parts[0].new_zeros(self.n_blocks)
        for part in own:
            sums += part.sum(1)
        sums = self.ranks.add_up(sums)
        for part in common:
            sums += part.sum(1)
        return sums

    def block_squares(self, parts: Parts) -> Tensor:
        """Return the sums of squares of all blocks, (k,)."""
        own, common = self._split(parts)
        squares = parts[0].new_zeros(self.n_blocks)
        for part in own:
            squares += row_squares(part)
        squares = self.ranks.add_up(squares)
        for part in common:
            squares += row_squares(part)
        return squares

    def add_products(self, total: Symmetric, parts: Parts, weight: float, decay: float) -> None:
        """Multiply a matrix by `decay`, then add `weight` times the products of all blocks.

        Only products of own members are added up over ranks.
        """
        own, common = self._split(parts)
        products = Symmetric([torch.zeros_like(quarter) for quarter in total.quarters])
        for part in own:
            products.add_products(part, 1, 1)
        for quarter, product in zip(total.quarters, products.quarters, strict=True):
            quarter.mul_(decay).add_(self.ranks.add_up(product), alpha=weight)
        for part in common:
            total.add_products(part, weight, 1)

    def _split(self, parts: Parts) -> tuple[Parts, Parts]:
        """Return the part of the weight, which only this rank has, and the bias, which all have."""
        pairs = list(zip(parts, self.members, strict=True))
        own = [part for part, member in pairs if member is not self.bias]
        return own, [part for part, member in pairs if member is self.bias]


class CutBlocks(Weight):
    """A weight, with its bias, of which each rank has some blocks with all their members.

    Parameters
    ----------
    weight : ShardedParameter
        The weight. It or the bias has a gradient.
    bias : Parameter or None
        The bias.
    layout : Layout
        The blocks of the weight, which are its rows.
    """

    def __init__(self, weight: ShardedParameter, bias: Parameter | None, layout: Layout) -> None:
        assert isinstance(layout.sizes, int)  # blocks with labels are refused
        layouts = (_OwnRows(weight, is_transposed=False), BiasLayout())
        super().__init__(weight, bias, layouts, layout.n_blocks, layout.sizes)
        self.ranks = weight.ranks
        self.own_blocks = weight.own_members(self.n_blocks)

    def block_sums(self, parts: Parts) -> Tensor:
        """Return the sums of all blocks over the members in parts, (k,)."""
        return self._of_all_blocks([part.sum(1) for part in parts])

    def block_squares(self, parts: Parts) -> Tensor:
        """Return the sums of squares of all blocks, (k,)."""
        return self._of_all_blocks([row_squares(part) for part in parts])

    def _of_all_blocks(self, numbers: list[Tensor]) -> Tensor:
        every = numbers[0].new_zeros(self.n_blocks)
        for own in numbers:
            every[self.own_blocks] += own
        return self.ranks.add_up(every)

    def add_products(self, total: Symmetric, parts: Parts, weight: float, decay: float) -> None:
        """Raise, because no rank has the products of blocks of different ranks."""
        raise NotImplementedError
