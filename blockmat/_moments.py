"""Sums of outer products, reduced to a between core and paired sums."""

from typing import Any

import numpy as np

from blockmat._sums import row_chunks
from blockmat._validation import Array
from blockmat.exceptions import NonFiniteError
from blockmat.partition import Partition


class Moments:
    """The between core and the paired sums (k,) or (k, k) of a sum of outer products."""

    def __init__(self, partition: Partition, between: Array, paired: Array) -> None:
        self.partition, self.between, self.paired = partition, between, paired

    @classmethod
    def zero(cls, p: Partition, aligned: bool) -> "Moments":
        k = p.n_blocks
        return cls(p, np.zeros((k, k)), np.zeros((k, k) if aligned else k))

    def __iadd__(self, other: "Moments") -> "Moments":
        self.between = self.between + other.between
        self.paired = self.paired + other.paired
        return self

    def __imul__(self, factor: float) -> "Moments":
        self.between = self.between * factor
        self.paired = self.paired * factor
        return self

    def __itruediv__(self, divisor: float) -> "Moments":
        self.between = self.between / divisor
        self.paired = self.paired / divisor
        return self

    def pair(self) -> tuple[Array, Array]:
        """Return the canonical pair of the projected sum."""
        return self.between, within_from_sums(self.partition, self.between, self.paired)


def moments(X: Array, mean: Array, p: Partition, aligned: bool, check_finite: bool) -> Moments:
    """Sum the outer products of the rows of ``X - mean``, chunk by chunk."""
    from blockmat import _kernels

    k = p.n_blocks
    dtype = np.result_type(mean, X.dtype)
    total = Moments(p, np.zeros((k, k), dtype), np.zeros((k, k) if aligned else k, dtype))
    for _, rows in row_chunks(X, max_width=k):
        means = np.zeros((len(rows), k), dtype=dtype)
        squares = np.zeros(k)
        _kernels.add_samples(rows, mean, p.labels, means, squares)
        if check_finite and not np.isfinite(means).all():
            raise NonFiniteError(
                f"X contains NaN or infinity in row {_first_non_finite_row(X)}; "
                f"expected finite numbers"
            )
        means /= np.sqrt(p.sizes)
        paired = _paired_products(rows, mean, p, dtype) if aligned else squares
        total += Moments(p, means.T @ means.conj(), paired)
    return total


def _first_non_finite_row(X: Array) -> int:
    for first, rows in row_chunks(X):
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(wrong):
            return first + int(wrong[0])
    return 0  # finite numbers whose sums overflow


def _paired_products(X: Array, mean: Array, p: Partition, dtype: Any) -> Array:
    """Sum over samples and places of ``x[a_p] conj(x[b_p])``, for blocks of equal size."""
    k = p.n_blocks
    paired = np.zeros((k, k), dtype=dtype)
    for members, columns in p.size_classes:
        deviations = np.moveaxis(X[:, columns] - mean[columns], 1, 0).reshape(len(members), -1)
        paired[np.ix_(members, members)] = deviations @ deviations.conj().T
    return paired


def within_from_sums(p: Partition, between: Array, traces: Array) -> Array:
    """Return d or D from paired sums (k,) or (k, k).

    What is left of a difference that has cancelled to rounding is rounding, and set
    to zero: a constant block has no deviations, not a random tiny one.
    """
    if traces.ndim == 1:
        taken, multiplicity, square = np.diagonal(between), p.sizes - 1, p.sizes > 1
    else:
        taken, multiplicity = between, np.broadcast_to(p.sizes - 1, traces.shape)
        square = (p.sizes[:, None] == p.sizes) & (p.sizes > 1)
    with np.errstate(invalid="ignore"):  # infinite sums, which the caller may allow
        rest = traces - taken
    rounding = 16 * np.finfo(np.float64).eps * np.sqrt(p.sizes) * (np.abs(traces) + np.abs(taken))
    keep = square & ~(np.abs(rest) <= rounding)
    within = np.zeros(traces.shape, dtype=np.result_type(between, traces))
    np.divide(rest, multiplicity, out=within, where=keep)
    return within
