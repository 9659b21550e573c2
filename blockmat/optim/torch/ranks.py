"""What ranks compute together: sums, and decompositions of which each rank makes a part.

`Alone` and `Ranks` have the same methods. With `Alone` they leave everything as it is.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from blockmat.optim.torch.symmetric import Decomposition, decompose


class Alone:
    """One rank, for parameters that are whole on every rank."""

    def add_up(self, x: Tensor) -> Tensor:
        """Return x."""
        return x

    def add_up_once(self, x: Tensor, is_cut: Sequence[bool]) -> Tensor:
        """Return x."""
        return x

    def decompose(self, matrices: list[Tensor]) -> list[Decomposition | None]:
        """Return the eigenvalues and eigenvectors of symmetric matrices."""
        return decompose(matrices)


class Ranks:
    """The ranks of a mesh of one dimension, over which parameters are cut.

    Parameters
    ----------
    mesh : DeviceMesh
        The mesh.
    """

    def __init__(self, mesh: Any) -> None:
        self.mesh = mesh
        self.n_ranks = mesh.size()

    def add_up(self, x: Tensor) -> Tensor:
        """Return the sum of x over ranks, in its own memory."""
        torch.distributed.all_reduce(x, group=self.mesh.get_group())
        return x

    def add_up_once(self, x: Tensor, is_cut: Sequence[bool]) -> Tensor:
        """Return sums over ranks of one number per parameter; a whole parameter counts once."""
        n_counts = x.new_tensor([1 if cut else self.n_ranks for cut in is_cut])
        return self.add_up(x / n_counts)

    def decompose(self, matrices: list[Tensor]) -> list[Decomposition | None]:
        """Return the eigenvalues and eigenvectors of symmetric matrices that all ranks have.

        Each rank decomposes some of them and sends the results to the others. The largest
        matrices are given out first, each to the rank with the least work so far.
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


ALONE = Alone()


def ranks_of_all(ranks: Iterable[Alone | Ranks]) -> Alone | Ranks:
    """Return the ranks over which any of several parameters is cut, or `ALONE`."""
    return next((r for r in ranks if r is not ALONE), ALONE)


def is_sharded(x: Any) -> bool:
    """Return whether x is a DTensor, without importing the module that defines it."""
    return isinstance(x, Tensor) and hasattr(x, "device_mesh")
