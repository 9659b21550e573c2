"""Moments: a sum of outer products, as its between core and deviations from block means."""

from dataclasses import dataclass

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.cores import pair

_DOUBTFUL = 2.0**-12  # a difference below this fraction of the squares has lost digits
_COPIED = 2**21  # deviations to compute at a time
_ROUNDING = 2**4 * float(np.finfo(np.float64).eps)  # relative error of a mean of 1024 numbers


class Moments:
    """A sum of outer products, as its between core and a second part.

    ``rest`` (k,) holds the sums of squared deviations of the members of each block from their mean;
    if aligned, (k, k) holds the sums of products of deviations of paired members. They are computed
    without cancellation, so they are accurate for blocks that hardly vary.
    """

    def __init__(self, partition: Partition, between: Array, rest: Array) -> None:
        self.partition, self.between, self.rest = partition, between, rest

    @classmethod
    def zero(cls, p: Partition, aligned: bool) -> "Moments":
        """Return the moments of an empty sum."""
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
        """Whether there are products for each pair of blocks of equal size."""
        return bool(self.rest.ndim == 2)

    def pair(self) -> tuple[Array, Array]:
        """Return the canonical pair of the projected sum."""
        return self.between, pair.within_of_rest(self.rest, self.partition.sizes, self.aligned)


@dataclass
class CentredMoments:
    """The moments of samples about their mean, their mean, and their total weight.

    The mean is stored separately, so a large mean does not cause cancellation.
    """

    moments: Moments
    mean: Array
    weight: float

    def __iadd__(self, other: "CentredMoments") -> "CentredMoments":
        """Add other samples (Chan, Golub and LeVeque, 1983)."""
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

    def settled(self) -> Moments:
        """Return the moments, with block sums set to zero that can be rounding errors of the means."""
        p, between = self.moments.partition, self.moments.between
        with np.errstate(over="ignore"):  # the caller checks for overflow
            raw = between.diagonal().real + self.weight * block_sums(p, squared(self.mean))
        between = without_rounding(between.copy(), np.where(p.sizes > 1, raw, 0))
        return Moments(p, between, self.moments.rest)


def outer_moments(x: Array, p: Partition, aligned: bool, size: Array | None = None) -> Moments:
    """Return the moments of one outer product ``x x^H``.

    `size` (n,) is the magnitude of the numbers that x was computed from; by default that of x.
    """
    double = x.astype(accumulator_dtype(x.dtype), copy=False)
    means = pair.coordinates(block_sums(p, x), p.sizes)
    between = np.multiply.outer(means, means.conj())
    squares = block_sums(p, squared(double))
    rest = rest_of_rows(double[None], np.empty(0), None, p, aligned, squares, between)
    raw = squares if size is None else block_sums(p, size**2)
    return Moments(p, between, without_rounding(rest, raw))


def squared(x: Array) -> Array:
    """Return squared magnitudes."""
    squares: Array = x.real**2 + x.imag**2 if x.dtype.kind == "c" else x**2
    return squares


def rest_of_rows(
    rows: Array,
    w: Array,
    mean: Array | None,
    p: Partition,
    aligned: bool,
    squares: Array,
    between: Array,
) -> Array:
    """Return `Moments.rest` of ``rows - mean`` with weights w (T,), or (0,) if all are 1.

    It is ``squares - diag(between)``, where squares (k,) are the sums of the squares of
    ``rows - mean`` over blocks. In blocks where this difference cancels, it is computed from the
    deviations instead.
    """
    with np.errstate(invalid="ignore"):  # the caller may allow infinite sums
        rest: Array = squares - between.diagonal().real
    several = p.sizes > 1
    rest[~several] = 0
    doubtful = np.flatnonzero(several & (rest < _DOUBTFUL * squares))
    if aligned:
        deviations = rows.astype(between.dtype, copy=False) if mean is None else rows - mean
        if len(w):
            deviations = deviations * np.sqrt(w)[:, None]
        if len(doubtful):
            return _paired_products(without_block_means(deviations, p), p)
        paired = _paired_products(deviations, p)
        is_square = (p.sizes[:, None] == p.sizes) & several
        return np.where(is_square, paired - between, 0)
    if len(doubtful):
        members = np.concatenate([p.order[p.offsets[b] : p.offsets[b + 1]] for b in doubtful])
        blocks = Partition(p.sizes[doubtful])
        rest[doubtful] = 0
        height = max(1, _COPIED // len(members))
        for first in range(0, len(rows), height):
            some = rows[first : first + height, members].astype(between.dtype)
            if mean is not None:
                some -= mean[members]
            squares_of_some = squared(without_block_means(some, blocks))
            if len(w):
                squares_of_some *= w[first : first + height, None]
            rest[doubtful] += block_sums(blocks, squares_of_some.sum(axis=0))
    return rest


def without_block_means(x: Array, p: Partition) -> Array:
    """Return the deviations of each row of x (T, n) from its block means."""
    deviations: Array = x - p.expand(p.block_means(x, axis=1), axis=1)
    return deviations


def _paired_products(deviations: Array, p: Partition) -> Array:
    """Return the sums over samples and places p of ``x[a_p] conj(x[b_p])``, for blocks of equal size."""
    k = p.n_blocks
    paired = np.zeros((k, k), dtype=deviations.dtype)
    for blocks, columns in p.size_classes:
        rows = np.moveaxis(deviations[:, columns], 1, 0).reshape(len(blocks), -1)
        paired[np.ix_(blocks, blocks)] = rows @ rows.conj().T
    return paired


def without_rounding(sums: Array, raw: Array) -> Array:
    """Set sums to zero that can be rounding errors of numbers with squared sum `raw` (k,).

    Otherwise a constant block would have tiny random deviations.
    """
    sizes = sums.diagonal().real if sums.ndim == 2 else sums
    constant = (sizes <= _ROUNDING**2 * raw) & np.isfinite(raw)
    if constant.any():
        sums[constant] = 0
        sums.T[constant] = 0
    return sums
