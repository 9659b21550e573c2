"""The pair of a covariance matrix whose values are means over the observed pairs of entries."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, real_dtype
from blockmat.blocks.names import some_columns
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.cores.definite import definite_pair
from blockmat.exceptions import NonFiniteError
from blockmat.sources.moments import squared
from blockmat.sources.observed import ObservedSamples
from blockmat.sources.pair import Pair

_SQUARED = ("squared_pairs", "squared_counts")  # sums of squares of weights
_SUMS = ("weight", "products", "cross", "pairs", "counts", "sums", "squares", *_SQUARED)
# A sum of squares about a mean that is smaller than this, relative to that about the location, has
# cancelled: rounding grows with the samples, of which 1024 are summed at a time
_CANCELLED = 1024 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class PairwiseSums:
    """Sums over the observed values of samples, and over pairs of them in one sample.

    With the block sums S of the observed deviations from a location, the numbers n of values in
    each block, and weights w, the fields are sums over the samples.

    Parameters
    ----------
    p : Partition
    weight : float
        Of w, over samples that have a value.
    products, cross : ndarray, shape (k, k)
        Of ``w S S^H`` and of ``w S n^T``.
    pairs, squared_pairs : ndarray, shape (k, k)
        Of ``w n n^T`` and of the same with `Weights.squares`.
    squared_counts : ndarray, shape (k,)
        Of n with `Weights.squares`.
    counts, sums, squares : ndarray, shape (n,)
        For each variable, of w, w times the deviation, and w times its squared magnitude.
    """

    p: Partition
    weight: float
    products: Array
    cross: Array
    pairs: Array
    squared_pairs: Array
    squared_counts: Array
    counts: Array
    sums: Array
    squares: Array

    @classmethod
    def of(cls, samples: ObservedSamples, p: Partition, location: Array) -> "PairwiseSums":
        """Return the sums of samples about a location (n,).

        Raises
        ------
        NonFiniteError
            If the samples contain infinity, or sums overflow.
        """
        k, weight = p.n_blocks, 0.0
        products, cross = np.zeros((2, k, k), dtype=location.dtype)
        pairs, squared_pairs = np.zeros((2, k, k))
        squared_counts, squares = np.zeros(k), np.zeros(p.n)
        with np.errstate(over="ignore", invalid="ignore"):
            for w, w2, S, n in samples.row_sums(p, location, squares):
                products += (S.T * w) @ S.conj()
                cross += (S.T * w) @ n
                pairs += (n.T * w) @ n
                squared_pairs += (n.T * w2) @ n
                squared_counts += w2 @ n
                weight += float(w @ n.any(axis=1))
        samples.require_in_range(products)
        counts = samples.columns.counts
        sums = samples.columns.totals - counts * location
        return cls(
            p, weight, products, cross, pairs, squared_pairs, squared_counts, counts, sums, squares
        )

    def __add__(self, other: "PairwiseSums") -> "PairwiseSums":
        """Return the sums over the samples of both, about the same location."""
        added = {name: getattr(self, name) + getattr(other, name) for name in _SUMS}
        return replace(self, **added)

    def decayed(self, beta: float) -> "PairwiseSums":
        """Return the sums with all weights multiplied by a factor."""
        factors = {name: beta**2 if name in _SQUARED else beta for name in _SUMS}
        return replace(self, **{name: getattr(self, name) * f for name, f in factors.items()})

    def variances(self, ddof: int, names: Sequence[Any] | None) -> Array:
        """Return the variance (n,) of the values of each variable, whose `names` are for messages.

        Raises
        ------
        ValueError
            If a variable has too few values for `ddof`, or they are constant.
        """
        p = self.p
        lost = (self.squared_counts / block_sums(p, self.counts))[p.labels]
        divisors = self.counts - ddof * lost
        few = divisors <= 0
        if few.any():
            raise ValueError(
                f"X has too few values for ddof={ddof} in {some_columns(few, names)}; expected a "
                f"positive divisor"
            )
        rest: Array = self.squares - self.counts * squared(self.sums / self.counts)
        constant = rest <= _CANCELLED * self.squares
        if constant.any():
            raise ValueError(
                f"X is constant to rounding in {some_columns(constant, names)}; expected variables "
                f"that vary, and a location near their values"
            )
        return rest / divisors

    def pair(self, ddof: int, centre: bool, dtype: Any) -> Pair:
        """Return the positive definite pair of pairwise means (:ref:`theory-missing`).

        Products are about the mean of each variable if `centre`, and else about the location.

        Raises
        ------
        ValueError
            If two blocks have too few values in the same samples for `ddof`.
        """
        p = self.p
        counts = block_sums(p, self.counts)
        n_pairs = np.multiply.outer(p.sizes, p.sizes) - np.diag(p.sizes)
        products, totals, own = self._about_means() if centre else self._about_location()
        # In a diagonal block the pairs of a variable with itself have a value of their own.
        products = products - np.diag(own)
        pairs = self.pairs - np.diag(counts)
        squared_pairs = self.squared_pairs - np.diag(self.squared_counts)
        divisors = pairs - ddof * n_pairs * _ratio(squared_pairs, pairs)
        own_divisors = counts - ddof * p.sizes * _ratio(self.squared_counts, counts)
        _require_pairs(p, np.where(n_pairs > 0, divisors, 1), own_divisors, ddof)
        values = np.where(n_pairs > 0, products / np.where(n_pairs > 0, divisors, 1), 0)
        variances = totals / own_divisors
        if not (np.isfinite(values).all() and np.isfinite(variances).all()):
            raise NonFiniteError("the sums of X overflow; expected smaller numbers")
        least = float(np.sqrt(np.finfo(real_dtype(dtype)).eps))
        return Pair.exact(*definite_pair(values, variances, p.sizes, least), dtype)

    def _about_location(self) -> tuple[Array, Array, Array]:
        """Return the block sums of products, and twice those of squares."""
        totals = block_sums(self.p, self.squares)
        return self.products, totals, totals

    def _about_means(self) -> tuple[Array, Array, Array]:
        """Return the block sums of products, those of squares, and what the products have of them.

        The mean shift of each block is removed exactly. What is left of the shift of each variable,
        r, is removed as if values were missing at random: then it is in no products of different
        variables, except for ``-counts**2 * r**2 / weight`` in those of one block.
        """
        p = self.p
        shift = block_sums(p, self.sums) / block_sums(p, self.counts)
        crossed = self.cross * shift.conj()
        products = self.products - crossed - crossed.conj().T
        products = products + self.pairs * np.multiply.outer(shift, shift.conj())
        means = self.sums / self.counts
        totals = block_sums(p, np.maximum(self.squares - self.counts * squared(means), 0))
        rest = self.counts * squared(means - shift[p.labels])
        own = totals + block_sums(p, rest * (1 - self.counts / self.weight))
        return products, totals, own


def pairwise_pair(samples: ObservedSamples, p: Partition, ddof: int, centre: bool) -> Pair:
    """Return the positive definite pair of pairwise means of samples.

    Raises
    ------
    NonFiniteError
        If the samples contain infinity, or sums overflow.
    ValueError
        If a column has no value, or two blocks have too few values in the same samples for `ddof`.
    """
    mean = samples.mean
    location = mean if centre else np.zeros_like(mean)
    return PairwiseSums.of(samples, p, location).pair(ddof, centre, samples.dtype)


def _ratio(squares: Array, counts: Array) -> Array:
    """Return ``squares / counts``, and 0 where there are no counts."""
    return squares / np.where(counts > 0, counts, 1)


def _require_pairs(p: Partition, divisors: Array, own_divisors: Array, ddof: int) -> None:
    divisors = divisors.copy()
    divisors[np.diag_indices(p.n_blocks)] = np.minimum(np.diagonal(divisors), own_divisors)
    if (divisors > 0).all():
        return
    a, b = (int(i) for i in np.argwhere(~(divisors > 0))[0])
    raise ValueError(
        f"X has too few samples with values in blocks {p.names[a]!r} and {p.names[b]!r} for "
        f"ddof={ddof}; expected a positive divisor"
    )
