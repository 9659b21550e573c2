"""FrameMap: functions in the span of one vector in each block, with weights that differ within the block."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import members, weighted_add, weighted_sums

_SAMPLED = 32  # members of a block from which its coordinate is estimated
_WORTHWHILE = 4 * _SAMPLED  # variables in a block, on average; in smaller ones all are used
_LARGEST_ERROR = 2  # of the estimated coordinates, relative to the norm of the result
_RUN = 2**14  # numbers in a row; one run of sixteen takes part in the bound on the norm


class FrameMap:
    """``x -> left * (Q f(Q^T y) + (I - Q Q^T) y)`` with ``y = right * x``, for functions f.

    Column b of Q is ``right * weights`` in block b, divided by its length. Before the coordinates
    are computed, near ones are taken out of x, which come from a few members of each block if that
    is accurate enough, and else from all (:ref:`theory-factor`).

    Parameters
    ----------
    partition : Partition
        The blocks.
    function : callable
        f, which takes (k,) or (k, m) in double precision.
    factor : ndarray, shape (n,)
        The product of `left` and `right`.
    weights : ndarray, shape (n,), or None
        Real numbers; None if all are 1.
    lengths : ndarray, shape (k,)
        The length of ``right * weights`` in each block.
    scale : ndarray, shape (n,), optional
        The square of `right`; by default 1.
    tolerated : ndarray, shape (k,), optional
        What an estimated coordinate may be wrong by in each block, relative to the norm of the
        result. By default no coordinates are estimated.
    """

    def __init__(
        self,
        partition: Partition,
        function: Callable[[Array], Array],
        factor: Array,
        weights: Array | None,
        lengths: Array,
        scale: Array | None = None,
        tolerated: Array | None = None,
    ) -> None:
        self._partition, self._function, self._lengths = partition, function, lengths
        self._factor, self._weights, self._scale = factor, weights, scale
        self._tolerated = tolerated
        self._sample = None
        if tolerated is not None and partition.n >= _WORTHWHILE * partition.n_blocks:
            self._sample = _Sample.of(partition, weights, scale)

    def __call__(self, x: Array, dtype: Any) -> Array:
        """Map real x (n,) or (n, m) to a `dtype`."""
        if self._sample is not None:
            result, added = self._mapped(x, self._sample.estimate(x).astype(dtype))
            error = np.linalg.norm((added.T / self._tolerated).T, axis=0)
            if (error <= _LARGEST_ERROR * _norm_from_below(result)).all():
                return result
        sums = weighted_sums(self._partition, x, self._weights, self._scale)
        exact = ((sums.T / self._lengths) / self._lengths).T
        return self._mapped(x, exact.astype(dtype))[0]

    def _mapped(self, x: Array, centre: Array) -> tuple[Array, Array]:
        """Take ``centre * weights`` out of x and map it. Also return the coordinates that are added."""
        p = self._partition
        sums = weighted_sums(p, x, self._weights, self._scale, centre)
        left = (sums.T / self._lengths).T
        added = self._function(left + (centre.T * self._lengths).T) - left
        terms = (added.T / self._lengths).T.astype(centre.dtype)
        return weighted_add(p, x, self._factor, self._weights, terms, centre=centre), added


class _Sample(NamedTuple):
    """Some members of each block, (k, s), and the numbers whose products with theirs add up to an estimate."""

    variables: Array
    numbers: Array

    @classmethod
    def of(cls, p: Partition, weights: Array | None, scale: Array | None) -> "_Sample":
        variables = members(p, _SAMPLED)
        w, h = (
            np.ones(variables.shape) if x is None else x[variables].astype(np.float64)
            for x in (weights, scale)
        )
        size = np.abs(w).max(axis=1, keepdims=True)
        w /= np.where(size > 0, size, 1)
        h /= h.max(axis=1, keepdims=True)
        total = (w * h * w).sum(axis=1, keepdims=True) * size
        return cls(variables, np.divide(w * h, total, out=np.zeros_like(w), where=total > 0))

    def estimate(self, x: Array) -> Array:
        """Return numbers c (k,) or (k, m), such that x is near ``c[labels] * weights``."""
        estimated: Array = np.einsum("ks,ks...->k...", self.numbers, x[self.variables])
        return estimated


def are_all_zero(partition: Partition, x: Array) -> Array:
    """Tell for each block whether all its numbers are zero, (k,)."""
    n_nonzero = np.bincount(partition.labels[x != 0], minlength=partition.n_blocks)
    zero: Array = n_nonzero == 0
    return zero


def lengths_in_blocks(p: Partition, x: Array) -> Array:
    """Return the length of x (n,), in double precision, in each block, (k,)."""
    squares = weighted_sums(p, x, x)
    if (np.isfinite(squares) & (squares > np.sqrt(np.finfo(np.float64).tiny))).all():
        return np.sqrt(squares)
    largest = largest_in_blocks(p, x)  # some squares overflow or underflow
    unit = x / largest[p.labels]
    return largest * np.sqrt(weighted_sums(p, unit, unit))


def largest_in_blocks(p: Partition, x: Array) -> Array:
    """Return the largest magnitude in each block, (k,)."""
    ordered = np.abs(x) if p.is_contiguous else np.abs(x)[p.order]
    largest: Array = np.maximum.reduceat(ordered, p.offsets[:-1])
    return largest


def _norm_from_below(x: Array) -> Array:
    """Return the norm of a sixteenth of the numbers in each column of x."""
    with np.errstate(over="ignore"):
        squares = [
            np.einsum("i...,i...->...", run, run, dtype=np.float64)
            for run in (x[i : i + _RUN] for i in range(0, len(x), 16 * _RUN))
        ]
    norm: Array = np.sqrt(np.sum(squares, axis=0))
    return norm
