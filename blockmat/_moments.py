"""Sums of outer products, reduced to a between core and paired sums."""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from blockmat._blockwise import block_sums, pieces, shared_ranges, sum_of_parts
from blockmat._sums import row_chunks
from blockmat._threads import run
from blockmat._validation import Array, accumulator_dtype, first_non_finite
from blockmat.exceptions import NonFiniteError
from blockmat.partition import Partition

_ROWS = 1024  # samples at a time, so that a strip of their columns fits into cache
_PIECES = 16  # into which columns are divided for threads
_NARROWEST = 512  # columns in a piece
_PIECE_PER_BLOCK = 8  # columns for each of the k sums that a piece has


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

    @property
    def aligned(self) -> bool:
        """Whether there are paired sums for every two blocks of one size."""
        return bool(self.paired.ndim == 2)

    def pair(self) -> tuple[Array, Array]:
        """Return the canonical pair of the projected sum."""
        return self.between, within_from_sums(self.partition, self.between, self.paired)


@dataclass
class CentredMoments:
    """Samples as the sum of outer products of their deviations, their mean and weight.

    Kept apart from the mean, the sum does not cancel where the mean is large.
    """

    moments: Moments
    mean: Array
    weight: float

    def __iadd__(self, other: "CentredMoments") -> "CentredMoments":
        """Join with others (Chan, Golub and LeVeque, 1983)."""
        weight = self.weight + other.weight
        difference = other.mean - self.mean
        between_means = outer_moments(difference, self.moments.partition, self.moments.aligned)
        between_means *= self.weight * other.weight / weight
        self.moments += other.moments
        self.moments += between_means
        self.mean = self.mean + difference * (other.weight / weight)
        self.weight = weight
        return self


def centred_moments(
    X: Array, p: Partition, aligned: bool, check_finite: bool = True
) -> CentredMoments:
    """Sum the outer products of samples around their mean, reading them once."""
    total = None
    for _, rows in row_chunks(X, max(_ROWS, p.n_blocks)):
        moments, mean = _moments_of_rows(X, rows, p, aligned, check_finite, centre=True)
        part = CentredMoments(moments, mean, float(len(rows)))
        if total is None:
            total = part
        else:
            total += part
    assert total is not None  # as_samples refuses empty X
    return total


def outer_moments(x: Array, p: Partition, aligned: bool) -> Moments:
    """Return the moments of one outer product ``x x^H``."""
    double = x.astype(accumulator_dtype(x.dtype), copy=False)
    means = block_sums(p, x) / np.sqrt(p.sizes)
    if aligned:
        paired = _paired_products(double[None], p)
    else:
        paired = block_sums(
            p, double.real**2 + double.imag**2 if x.dtype.kind == "c" else double**2
        )
    return Moments(p, np.multiply.outer(means, means.conj()), paired)


def raw_moments(X: Array, p: Partition, aligned: bool, check_finite: bool) -> Moments:
    """Sum the outer products of rows."""
    total = Moments.zero(p, aligned)
    for _, rows in row_chunks(X, max(_ROWS, p.n_blocks)):
        total += _moments_of_rows(X, rows, p, aligned, check_finite, centre=False)[0]
    return total


def _moments_of_rows(
    X: Array, rows: Array, p: Partition, aligned: bool, check_finite: bool, centre: bool
) -> tuple[Moments, Array]:
    """Return the moments of some rows of X around their mean, or around 0, and that mean."""
    from blockmat import _kernels

    n_samples, n = rows.shape
    k = p.n_blocks
    dtype = accumulator_dtype(rows.dtype)
    mean, squares = np.empty(n, dtype=dtype), np.empty(n)
    bounds = pieces(n, max(-(-n // _PIECES), _NARROWEST, _PIECE_PER_BLOCK * k))
    parts = np.empty((len(bounds) - 1, n_samples, k), dtype=dtype)
    arguments = (rows, centre, p.offsets, p._codes, bounds, mean, parts, squares)
    run(_kernels.sum_samples, arguments, shared_ranges(bounds, rows.size))
    means = sum_of_parts(parts)
    if check_finite and not np.isfinite(means).all():
        refuse_non_finite_samples(first_non_finite(X))
    means /= np.sqrt(p.sizes)
    paired = _paired_products(rows - mean, p) if aligned else block_sums(p, squares)
    return Moments(p, means.T @ means.conj(), paired), mean


def refuse_non_finite_samples(entry: tuple[int, ...] | None) -> NoReturn:
    """Raise `NonFiniteError` naming an entry that is not finite, or sums that overflow without one."""
    if entry is None:
        raise NonFiniteError("the sums of X overflow; expected smaller numbers")
    raise NonFiniteError(
        f"X contains NaN or infinity in row {entry[0]} and column {entry[1]}; expected finite numbers"
    )


def _paired_products(deviations: Array, p: Partition) -> Array:
    """Sum over samples and places of ``x[a_p] conj(x[b_p])``, for blocks of equal size."""
    k = p.n_blocks
    paired = np.zeros((k, k), dtype=deviations.dtype)
    for members, columns in p.size_classes:
        rows = np.moveaxis(deviations[:, columns], 1, 0).reshape(len(members), -1)
        paired[np.ix_(members, members)] = rows @ rows.conj().T
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
