"""WeightedFrame: one unit vector in each block, with weights that differ within the block."""

from collections.abc import Callable
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums, weighted_add, weighted_sums


class WeightedFrame:
    """The orthonormal columns of Q (n, k): column b is the part of `weights` in block b, normalised.

    Parameters
    ----------
    partition : Partition
        The blocks.
    weights : ndarray, shape (n,)
        Real numbers in double precision, not all of them zero in any block.

    Attributes
    ----------
    lengths : ndarray, shape (k,)
        The length of the weights in each block.
    """

    def __init__(self, partition: Partition, weights: Array) -> None:
        self._partition = partition
        largest = largest_in_blocks(partition, weights)
        unit = weights / largest[partition.labels]  # its squares do not overflow
        roots = np.sqrt(block_sums(partition, unit * unit))
        self.lengths: Array = largest * roots
        self._entries = unit / roots[partition.labels]

    def applied(self, function: Callable[[Array], Any], x: Array, right: Array, left: Array) -> Array:
        """Return ``left * (Q f(Q^T y) + (I - Q Q^T) y)`` of ``y = right * x``, in double precision.

        x has shape (n,) or (n, m); `left` and `right` (n,) multiply rows. Coordinates are taken out
        twice: after the first time, their rounding may be large beside the result
        (:ref:`theory-factor`).
        """
        p, entries = self._partition, self._entries
        first = weighted_sums(p, x, entries * right)
        rest = weighted_add(p, x, right, entries, -first)
        second = weighted_sums(p, rest, entries)
        terms = function(first + second) - second
        return weighted_add(p, rest, left, left * entries, terms, rest)


def largest_in_blocks(partition: Partition, x: Array) -> Array:
    """Return the largest magnitude in each block, (k,)."""
    ordered = np.abs(x) if partition.is_contiguous else np.abs(x)[partition.order]
    largest: Array = np.maximum.reduceat(ordered, partition.offsets[:-1])
    return largest
