"""Sums of outer products, reduced to a between core and what deviations from block means add."""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, first_non_finite
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums, sum_of_parts
from blockmat.blocks.segments import pieces, shared_ranges
from blockmat.blocks.threads import run
from blockmat.cores import pair
from blockmat.exceptions import NonFiniteError
from blockmat.sources.sums import row_chunks

_ROWS = 1024  # samples at a time, so that a strip of their columns fits into cache
_PIECES = 16  # into which columns are divided for threads
_NARROWEST = 512  # columns in a piece
_PIECE_PER_BLOCK = 8  # columns for each of the k sums that a piece has
_DOUBTFUL = 2.0**-12  # share of the squares in a block whose difference has lost digits
_COPIED = 2**21  # numbers of which deviations are formed at a time
_ROUNDING = 2**4 * float(np.finfo(np.float64).eps)  # of a mean of _ROWS numbers, with a margin


class Moments:
    """A sum of outer products: its between core, and what is left without block means.

    ``rest`` (k,) are the sums of the squared deviations of all members of a block from their
    mean, or (k, k) the sums of products of those of paired members. They are never the
    difference of two large numbers, so they keep their digits where a block hardly varies.
    """

    def __init__(self, partition: Partition, between: Array, rest: Array) -> None:
        self.partition, self.between, self.rest = partition, between, rest

    @classmethod
    def zero(cls, p: Partition, aligned: bool) -> "Moments":
        """Return moments of nothing."""
        k = p.n_blocks
        return cls(p, np.zeros((k, k)), np.zeros((k, k) if aligned else k))

    def __iadd__(self, other: "Moments") -> "Moments":
        self.between = self.between + other.between
        self.rest = self.rest + other.rest
        return self

    def __imul__(self, factor: float) -> "Moments":
        self.between = self.between * factor
        self.rest = self.rest * factor
        return self

    def __itruediv__(self, divisor: float) -> "Moments":
        self.between = self.between / divisor
        self.rest = self.rest / divisor
        return self

    @property
    def aligned(self) -> bool:
        """Whether there are products for every two blocks of one size."""
        return bool(self.rest.ndim == 2)

    def pair(self) -> tuple[Array, Array]:
        """Return the canonical pair of the projected sum."""
        return self.between, pair.within_of_rest(self.rest, self.partition.sizes, self.aligned)


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
        size = np.maximum(np.abs(other.mean), np.abs(self.mean))
        between_means = outer_moments(
            difference, self.moments.partition, self.moments.aligned, size
        )
        between_means *= self.weight * other.weight / weight
        self.moments += other.moments
        self.moments += between_means
        self.mean = self.mean + difference * (other.weight / weight)
        self.weight = weight
        return self


def centred_moments(
    X: Array, p: Partition, aligned: bool, check_finite: bool = True, factor: float = 1.0
) -> CentredMoments:
    """Sum the outer products of samples times a factor around their mean, reading them once."""
    total = None
    for _, rows in row_chunks(X, max(_ROWS, p.n_blocks)):
        scaled = rows if factor == 1 else rows * factor
        moments, mean = _moments_of_rows(X, scaled, p, aligned, check_finite, centre=True)
        part = CentredMoments(moments, mean, float(len(rows)))
        if total is None:
            total = part
        else:
            total += part
    assert total is not None  # as_samples refuses empty X
    moments = total.moments  # which the means of the parts may have given rounding
    with np.errstate(over="ignore"):  # which the caller looks at
        raw = moments.between.diagonal().real + total.weight * block_sums(p, _squares(total.mean))
    moments.between = without_rounding(moments.between, np.where(p.sizes > 1, raw, 0))
    return total


def outer_moments(x: Array, p: Partition, aligned: bool, size: Array | None = None) -> Moments:
    """Return the moments of one outer product ``x x^H``.

    `size` (n,) is the size of the numbers that x was computed from, by default its own.
    """
    double = x.astype(accumulator_dtype(x.dtype), copy=False)
    means = pair.coordinates(block_sums(p, x), p.sizes)
    between = np.multiply.outer(means, means.conj())
    traces = block_sums(p, _squares(double))
    rest = _rest(double[None], None, p, aligned, traces, between)
    raw = traces if size is None else block_sums(p, size**2)
    return Moments(p, between, without_rounding(rest, raw))


def raw_moments(
    X: Array, p: Partition, aligned: bool, check_finite: bool, factor: float = 1.0
) -> Moments:
    """Sum the outer products of rows times a factor."""
    total = Moments.zero(p, aligned)
    for _, rows in row_chunks(X, max(_ROWS, p.n_blocks)):
        scaled = rows if factor == 1 else rows * factor
        total += _moments_of_rows(X, scaled, p, aligned, check_finite, centre=False)[0]
    return total


def _moments_of_rows(
    X: Array, rows: Array, p: Partition, aligned: bool, check_finite: bool, centre: bool
) -> tuple[Moments, Array]:
    """Return the moments of some rows of X around their mean, or around 0, and that mean."""
    from blockmat.sources import kernels

    n_samples, n = rows.shape
    k = p.n_blocks
    dtype = accumulator_dtype(rows.dtype)
    mean, squares = np.empty(n, dtype=dtype), np.empty(n)
    bounds = pieces(n, max(-(-n // _PIECES), _NARROWEST, _PIECE_PER_BLOCK * k))
    parts = np.empty((len(bounds) - 1, n_samples, k), dtype=dtype)
    arguments = (rows, centre, p.offsets, p.codes, bounds, mean, parts, squares)
    run(kernels.sum_samples, arguments, shared_ranges(bounds, rows.size))
    means = sum_of_parts(parts)
    if check_finite and not np.isfinite(means).all():
        refuse_non_finite_samples(first_non_finite(X))
    means /= pair.root(p.sizes)
    with np.errstate(over="ignore", invalid="ignore"):  # which the caller looks at
        between = means.T @ means.conj()
        traces = block_sums(p, squares)
        raw = traces + n_samples * block_sums(p, _squares(mean)) if centre else traces
        rest = _rest(rows, mean if centre else None, p, aligned, traces, between)
    between = without_rounding(between, np.where(p.sizes > 1, raw, 0))
    return Moments(p, between, without_rounding(rest, raw)), mean


def _squares(x: Array) -> Array:
    squares: Array = x.real**2 + x.imag**2 if x.dtype.kind == "c" else x**2
    return squares


def refuse_non_finite_samples(entry: tuple[int, ...] | None) -> NoReturn:
    """Raise `NonFiniteError` naming an entry that is not finite, or sums that overflow without one."""
    if entry is None:
        raise NonFiniteError("the sums of X overflow; expected smaller numbers")
    raise NonFiniteError(
        f"X contains NaN or infinity in row {entry[0]} and column {entry[1]}; expected finite numbers"
    )


def _rest(
    rows: Array, mean: Array | None, p: Partition, aligned: bool, traces: Array, between: Array
) -> Array:
    """Return `Moments.rest` of ``rows - mean``, of which the sums of squares are known.

    It is their difference to the between core, except in blocks where hardly any of the
    squares is left: there the deviations are formed.
    """
    with np.errstate(invalid="ignore"):  # infinite sums, which the caller may allow
        rest = traces - between.diagonal().real
    several = p.sizes > 1
    rest[~several] = 0
    doubtful = np.flatnonzero(several & (rest < _DOUBTFUL * traces))
    if aligned:
        deviations = rows.astype(between.dtype, copy=False) if mean is None else rows - mean
        if len(doubtful):
            return _paired_products(without_block_means(deviations, p), p)
        paired = _paired_products(deviations, p)
        square = (p.sizes[:, None] == p.sizes) & several
        left: Array = np.where(square, paired - between, 0)
        return left
    if len(doubtful):
        members = np.concatenate([p.order[p.offsets[b] : p.offsets[b + 1]] for b in doubtful])
        some = Partition(p.sizes[doubtful])
        rest[doubtful] = 0
        height = max(1, _COPIED // len(members))
        for first in range(0, len(rows), height):
            part = rows[first : first + height, members].astype(between.dtype)
            if mean is not None:
                part -= mean[members]
            squares = _squares(without_block_means(part, some)).sum(axis=0)
            rest[doubtful] += block_sums(some, squares)
    own: Array = rest
    return own


def without_block_means(x: Array, p: Partition) -> Array:
    """Return what each row of x (T, n) has beyond its block means."""
    deviations: Array = x - p.expand(p.block_means(x, axis=1), axis=1)
    return deviations


def _paired_products(deviations: Array, p: Partition) -> Array:
    """Sum over samples and places of ``x[a_p] conj(x[b_p])``, for blocks of equal size."""
    k = p.n_blocks
    paired = np.zeros((k, k), dtype=deviations.dtype)
    for members, columns in p.size_classes:
        rows = np.moveaxis(deviations[:, columns], 1, 0).reshape(len(members), -1)
        paired[np.ix_(members, members)] = rows @ rows.conj().T
    return paired


def without_rounding(sums: Array, raw: Array) -> Array:
    """Set to zero what rounding alone explains in numbers whose squares add up to `raw` (k,).

    A constant block has no deviations, and a centred one no mean, not random tiny ones.
    """
    own = sums.diagonal().real if sums.ndim == 2 else sums
    constant = (own <= _ROUNDING**2 * raw) & np.isfinite(raw)
    if constant.any():
        sums[constant] = 0
        sums.T[constant] = 0
    return sums


def within_from_sums(p: Partition, between: Array, traces: Array) -> Array:
    """Return d or D from paired sums (k,) or (k, k).

    What is left of a difference that has cancelled to rounding is rounding, and set
    to zero: a constant block has no deviations, not a random tiny one.
    """
    rounding = 16 * np.finfo(np.float64).eps * pair.root(p.sizes)
    with np.errstate(invalid="ignore"):  # infinite sums, which the caller may allow
        within: Array = pair.within_of_traces(traces, between, p.sizes, rounding)
    return within
