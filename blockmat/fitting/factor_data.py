"""FactorData: standardized samples, or a root of their correlations, as a factor model reads them."""

from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.sources.standardize import compress_rows

_COMPRESSED_UP_TO = 1000  # variables; for more, their Gram matrix takes longer than the search


class FactorData(NamedTuple):
    """Samples of n variables in P patterns of gaps.

    ``rows`` (n, T) holds the samples as columns, each times the root of its share of the total
    weight, with 0 for missing values. ``roots`` (T,) are these roots. Samples of the same pattern
    are consecutive, and so are patterns with equally many samples.

    ``observed`` (P, n) is 1 where a variable is observed, and 0 elsewhere. ``shares`` (P,) are the
    shares of the total weight, and ``counts`` (P,) the numbers of samples.
    """

    rows: Array
    roots: Array
    observed: Array
    shares: Array
    counts: Array


def complete(Z: Array, order: Array) -> FactorData:
    """Return samples Z (T, n) without gaps, for a model with the mean zero.

    Weighted samples are multiplied by the roots of their weights, of mean 1. The variables are put in
    `order` (n,). Many samples are replaced by n rows with the same sums of squares and products.
    """
    n_samples, n = Z.shape
    Z = Z / np.sqrt(n_samples)
    if n_samples > 2 * n and n <= _COMPRESSED_UP_TO:
        Z = compress_rows(Z)
    return _one_pattern(np.ascontiguousarray(Z.T[order]))


def from_correlation(R: Array, order: Array) -> FactorData:
    """Return data with the correlations R (n, n), for a model with the mean zero.

    They are the columns of a root of R, ``V sqrt(w)`` with its eigenvalues w and eigenvectors V. A
    matrix that was not computed from complete samples can have negative eigenvalues. These become
    zero, and the rows of the root are divided by their lengths, so that variances stay 1.
    """
    values, vectors = np.linalg.eigh(R.astype(np.float64, copy=False))
    kept = values > len(R) * np.finfo(np.float64).eps * values[-1]
    rows = vectors[order][:, kept] * np.sqrt(values[kept])
    return _one_pattern(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def incomplete(Z: Array, observed: Array, weights: Array, order: Array) -> FactorData:
    """Return samples Z (T, n) with gaps, which are 0 in Z and False in `observed` (T, n).

    The weights (T,) are positive. The variables are put in `order` (n,).
    """
    packed = np.packbits(observed, axis=1)
    _, first, pattern, counts = np.unique(
        packed, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    pattern, by_count = pattern.reshape(-1), np.argsort(counts, kind="stable")
    place = np.empty_like(by_count)
    place[by_count] = np.arange(len(counts))
    sorted_rows = np.argsort(place[pattern], kind="stable")
    shares = weights / weights.sum()
    roots = np.sqrt(shares[sorted_rows])
    return FactorData(
        Z.T[np.ix_(order, sorted_rows)] * roots,
        roots,
        observed[np.ix_(first[by_count], order)].astype(np.float64),
        np.bincount(place[pattern], shares),
        counts[by_count],
    )


def _one_pattern(rows: Array) -> FactorData:
    """Return data without gaps; its mean is not needed, because that of the model is zero."""
    n, width = rows.shape
    return FactorData(rows, np.zeros(width), np.ones((1, n)), np.ones(1), np.array([width]))
