"""Parameters that `torch.distributed.fsdp.fully_shard` has cut along their first dimension.

A weight whose blocks are its columns has some members of every block on each rank. One whose
blocks are its rows is cut anew for a step, along its columns, so that the same holds, unless
nothing but numbers of single blocks is needed ("mean"). Sums over members are then sums over
ranks, of size k and k x k.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from blockmat.exceptions import ShapeError
from blockmat.optim.torch.symmetric import Decomposition

Decompose = Callable[[Sequence[Tensor]], list[Decomposition | None]]


def is_sharded(x: Any) -> bool:
    """Whether x is a DTensor, told without importing what defines it."""
    return isinstance(x, Tensor) and hasattr(x, "device_mesh")


def local(x: Tensor) -> Tensor:
    """Return what this rank has of a tensor."""
    return x.to_local() if is_sharded(x) else x  # type: ignore[attr-defined]


def shards_of(p: Tensor) -> "Shards | None":
    """Return how a parameter is cut, or None if it is whole."""
    return Shards(p) if is_sharded(p) else None


class Shards:
    """How a parameter is cut, and what its ranks do together.

    Parameters
    ----------
    p : DTensor
        Cut along its first dimension, over the ranks of a mesh of one dimension.
    """

    def __init__(self, p: Any) -> None:
        from torch.distributed.tensor import DTensor, Shard

        self.mesh, self.shape = p.device_mesh, p.shape
        if tuple(p.placements) != (Shard(0),):
            raise ShapeError(
                f"a parameter of shape {tuple(p.shape)} is placed as {tuple(p.placements)}; expected "
                f"one that is whole, or cut along its first dimension over a mesh of one"
            )
        self._tensor = DTensor
        self._rows, self._cols = (Shard(0),), (Shard(1),)
        self.n_rows = p.shape[0]
        self.n_cols = math.prod(p.shape[1:])
        self.n_own = p.to_local().shape[0]
        self.n_ranks = self.mesh.size()

    def add_up(self, x: Tensor) -> Tensor:
        """Return the sum over ranks, the same on all."""
        torch.distributed.all_reduce(x, group=self.mesh.get_group())
        return x

    def divided(self, matrices: list[Tensor], decompose: Decompose) -> list[Decomposition | None]:
        """Decompose matrices that all ranks have, each rank some of them, and exchange the results.

        A matrix goes to the rank with the least work so far, the largest ones first.
        """
        own_rank, group = self.mesh.get_local_rank(), self.mesh.get_group()
        work, owners = [0] * self.n_ranks, [0] * len(matrices)
        for i in sorted(range(len(matrices)), key=lambda i: -len(matrices[i])):
            owners[i] = work.index(min(work))
            work[owners[i]] += len(matrices[i]) ** 3
        mine = [i for i, owner in enumerate(owners) if owner == own_rank]
        computed = dict(zip(mine, decompose([matrices[i] for i in mine]), strict=True))
        found: list[Decomposition | None] = []
        for i, (matrix, owner) in enumerate(zip(matrices, owners, strict=True)):
            joined = matrix.new_full((len(matrix) + 1, len(matrix)), math.nan)
            pair = computed.get(i)
            if pair is not None:
                joined[0], joined[1:] = pair
            source = torch.distributed.get_global_rank(group, owner)
            torch.distributed.broadcast(joined, source, group=group)
            failed = bool(joined.isnan().any())
            found.append(None if failed else (joined[0], joined[1:]))
        return found

    def matrix(self, x: Tensor) -> Tensor:
        """Return own rows as a matrix (n_own, n_cols)."""
        return x.reshape(self.n_own, self.n_cols)

    def _placed(self, x: Tensor, placements: Any) -> Any:
        size = torch.Size((self.n_rows, self.n_cols))
        return self._tensor.from_local(
            x.contiguous(), self.mesh, placements, run_check=False, shape=size, stride=(size[1], 1)
        )

    def own_columns(self, x: Tensor) -> Tensor:
        """Exchange own rows (n_own, n_cols) for own columns (n_rows, some)."""
        cut: Tensor = self._placed(x, self._rows).redistribute(placements=self._cols).to_local()
        return cut

    def own_rows(self, x: Tensor) -> Tensor:
        """Exchange own columns for own rows."""
        cut: Tensor = self._placed(x, self._cols).redistribute(placements=self._rows).to_local()
        return cut

    def own_members(self, of_columns: bool) -> slice:
        """Return which members of each block this rank has.

        Blocks that are columns have a member in each row; those that are rows, in each column.
        """
        n = self.n_rows if of_columns else self.n_cols
        size = -(-n // self.n_ranks)
        first = min(size * self.mesh.get_local_rank(), n)
        return slice(first, min(first + size, n))

    def whole(self, x: Tensor) -> Tensor:
        """Return the whole of a vector of own entries."""
        size = torch.Size((self.n_rows,))
        cut = self._tensor.from_local(
            x, self.mesh, self._rows, run_check=False, shape=size, stride=(1,)
        )
        full: Tensor = cut.full_tensor()
        return full

    def own_part(self, x: Tensor) -> Tensor:
        """Return the own rows of a whole tensor."""
        return x[self.own_members(of_columns=True)]

    def wrapped(self, x: Tensor) -> Tensor:
        """Return a DTensor of what this rank has, cut as the parameter is."""
        size = torch.Size((self.n_rows, *x.shape[1:]))
        stride = torch.empty(size, device="meta").stride()
        cut: Tensor = self._tensor.from_local(
            x, self.mesh, self._rows, run_check=False, shape=size, stride=stride
        )
        return cut


def like_parameter(x: Tensor, p: Tensor) -> Tensor:
    """Return a tensor of the rows of a parameter as this rank has it: whole, or cut as p is."""
    if is_sharded(x) and not is_sharded(p):
        full: Tensor = x.full_tensor()  # type: ignore[attr-defined]
        return full
    shards = shards_of(p)
    if shards is None or is_sharded(x):
        return x
    return shards.wrapped(shards.own_part(x).clone())
