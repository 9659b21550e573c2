"""ObservedCorrelation: the correlations of samples with missing values or weights."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.similarity import principal_points
from blockmat.sources.standardize_observed import standardize_observed
from blockmat.sources.weights import Weights

_FEWEST = 3  # samples
_ROUNDING = 1e-12  # of a weight of pairs, relative to that of the values of the variable


class ObservedCorrelation:
    """The correlation matrix of samples (T, n) in which NaN marks a missing value.

    The correlation of a variable with a block is the mean product of standardized values over all
    pairs that are observed in the same sample (:ref:`theory-missing`). The matrices of products and
    of numbers of pairs are formed only if there are more samples than variables.

    Parameters
    ----------
    X : ndarray, shape (T, n)
        Real samples.
    weights : Weights
        The weights of the samples.
    names : sequence, shape (n,), optional
        The names of the columns, for messages.

    Attributes
    ----------
    n_samples : int
        The mean effective number of samples in which two variables are observed, rounded.
    location, scale : ndarray, shape (n,)
        The weighted mean and standard deviation of the values of each variable.

    Raises
    ------
    NonFiniteError
        If the samples contain infinity.
    ValueError
        If a column has no value or a constant one, or two columns have fewer than 3 samples in
        common on average.
    """

    def __init__(self, X: Array, weights: Weights, names: Sequence[Any] | None = None) -> None:
        z = standardize_observed(X, weights, names=names)
        self.location, self.scale = z.location, z.scale
        self.n, self.diagonal = X.shape[1], np.ones(X.shape[1])
        self.n_samples = round(_mean_number_of_pairs(z.observed, z.weights))
        if self.n_samples < _FEWEST:
            raise ValueError(
                f"two columns of X have {self.n_samples} samples in common on average; expected at "
                f"least {_FEWEST}"
            )
        kept = z.weights.values > 0
        roots = np.sqrt(z.weights.values[kept])[:, None]
        # The matrices A and N with the sums of products A^T A and the numbers of pairs N^T N
        self.values, self.seen = z.deviations[kept] * roots, z.observed[kept] * roots
        # A factor of a positive semidefinite matrix near the correlations, with columns of length 1
        self.factor = self.values / np.sqrt(z.counts)
        self.is_formed = len(self.values) > self.n
        if self.is_formed:
            self.values, self.seen = self.values.T @ self.values, self.seen.T @ self.seen
            correlations = self.values / np.where(self.seen > 0, self.seen, 1)
            eigenvalues, vectors = np.linalg.eigh(correlations)
            self.factor = np.sqrt(np.maximum(eigenvalues, 0))[:, None] * vectors.T

    def row_sums(self, p: Partition) -> Array:
        """Return the sum of each row over each block, (n, k)."""
        products, pairs = (self._sums(x, p) for x in (self.values, self.seen))
        own = (np.arange(self.n), p.labels)
        products[own] -= self._diagonal(self.values)
        pairs[own] -= self._diagonal(self.seen)
        # Pairs that are never observed have the correlation 0; the numbers are sums of roots squared.
        observed = pairs > _ROUNDING * self._diagonal(self.seen)[:, None]
        means = np.divide(products, pairs, out=np.zeros_like(products), where=observed)
        counts = np.tile(p.sizes.astype(np.float64), (self.n, 1))
        counts[own] -= 1
        sums: Array = means * counts
        sums[own] += 1
        return sums

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return the coordinates of the variables along the leading principal components."""
        return principal_points(self.factor, min(self.n_samples - 1, self.n), rank)

    def with_signs(self, signs: Array) -> "ObservedCorrelation":
        """Return the correlation matrix of the samples times signs."""
        result = copy(self)
        result.values, result.factor = self.values * signs, self.factor * signs
        if self.is_formed:
            result.values *= signs[:, None]
        return result

    def _sums(self, x: Array, p: Partition) -> Array:
        """Return the row sums of products over each block."""
        sums = p.block_sums(x, axis=1)
        return sums if self.is_formed else x.T @ sums

    def _diagonal(self, x: Array) -> Array:
        diagonal: Array = x.diagonal() if self.is_formed else np.einsum("ti,ti->i", x, x)
        return diagonal


def _mean_number_of_pairs(observed: Array, weights: Weights) -> float:
    """Return the effective number of samples of a pair of different variables, on average."""
    in_row, n = observed.sum(axis=1).astype(np.float64), observed.shape[1]
    pairs_in_row = in_row * (in_row - 1) if n > 1 else in_row
    n_pairs = n * (n - 1) if n > 1 else 1
    pairs = weights.values @ pairs_in_row
    squares = weights.squares @ pairs_in_row
    return float(pairs**2 / squares / n_pairs) if squares > 0 else 0.0
