"""WeightedFrame: one unit vector in each block, with weights that differ within the block.

`FrameMap` applies functions in the span of these vectors.
"""

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
    entries : ndarray, shape (n,)
        The one entry of each row of Q that is not zero by definition.
    """

    def __init__(self, partition: Partition, weights: Array) -> None:
        self.partition = partition
        largest = largest_in_blocks(partition, weights)
        unit = weights / largest[partition.labels]  # its squares do not overflow
        roots = np.sqrt(block_sums(partition, unit * unit))
        self.lengths: Array = largest * roots
        self.entries: Array = unit / roots[partition.labels]


class FrameMap:
    """``x -> left * (Q f(Q^T y) + (I - Q Q^T) y)`` with ``y = right * x``, for functions f.

    Parameters
    ----------
    frame : WeightedFrame
        The columns of Q.
    right, left : ndarray, shape (n,)
        What rows are multiplied by, before and after.
    """

    def __init__(self, frame: WeightedFrame, right: Array, left: Array) -> None:
        self._partition, self._entries = frame.partition, frame.entries
        self._right, self._left = right, left
        self._first, self._last = frame.entries * right, frame.entries * left

    def __call__(self, function: Callable[[Array], Any], x: Array) -> Array:
        """Map x (n,) or (n, m), in double precision; `function` takes (k,) or (k, m).

        Coordinates are taken out twice: after the first time, their rounding may be large beside
        the result (:ref:`theory-factor`).
        """
        p = self._partition
        first = weighted_sums(p, x, self._first)
        rest = weighted_add(p, x, self._right, self._entries, -first)
        second = weighted_sums(p, rest, self._entries)
        terms = function(first + second) - second
        return weighted_add(p, rest, self._left, self._last, terms, rest)


def are_all_zero(partition: Partition, x: Array) -> Array:
    """Tell for each block whether all its numbers are zero, (k,)."""
    n_nonzero = np.bincount(partition.labels[x != 0], minlength=partition.n_blocks)
    zero: Array = n_nonzero == 0
    return zero


def largest_in_blocks(partition: Partition, x: Array) -> Array:
    """Return the largest magnitude in each block, (k,)."""
    ordered = np.abs(x) if partition.is_contiguous else np.abs(x)[partition.order]
    largest: Array = np.maximum.reduceat(ordered, partition.offsets[:-1])
    return largest
