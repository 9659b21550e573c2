"""Subset: some of the variables of a partition, and the blocks that they form."""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.index import as_index
from blockmat.blocks.partition import Partition


class Subset(NamedTuple):
    """Some of the variables, in an order of their own.

    Parameters
    ----------
    variables : ndarray of int, shape (m,)
        Their numbers.
    partition : Partition
        Their blocks, of m variables.
    blocks : ndarray of int, shape (q,)
        The number that each of these blocks has in the partition of all variables.
    """

    variables: Array
    partition: Partition
    blocks: Array

    @classmethod
    def of(cls, whole: Partition, index: Any, name: str = "index") -> "Subset":
        """Choose variables, as `blockmat.blocks.index.as_index` does."""
        chosen = as_index(index, whole.n, name)
        counts = np.bincount(whole.labels[chosen], minlength=whole.n_blocks)
        return cls(chosen, whole.subset(chosen), np.flatnonzero(counts))

    def shared_blocks(self, other: "Subset") -> tuple[Array, Array]:
        """Return the places of the blocks that both have: among those of this one, and of the other."""
        _, mine, theirs = np.intersect1d(self.blocks, other.blocks, True, return_indices=True)
        return mine, theirs
