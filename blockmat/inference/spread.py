"""How far samples, or the samples of a covariance matrix, are from block-constant (:ref:`theory-shrinkage`)."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.cores import pair
from blockmat.fitting.fit import fit


class Spread(NamedTuple):
    """How far samples and their covariance S are from block-constant, as squared norms.

    ``noise`` is the mean of ``|(x x^T - S)_perp|^2`` over samples, and ``distance`` is
    ``|S_perp|^2``.
    """

    noise: float
    distance: float


def spread_of(deviations: Array, p: Partition | None, weights: Array | None = None) -> Spread:
    """Return the spread of samples (T, n) with mean zero; the target is the identity without p.

    With `weights` (T,), whose mean is 1, the rows are samples times the roots of their weights.
    """
    n_samples, n = deviations.shape
    few = deviations if n_samples <= n else deviations.T
    gram = few @ few.T  # the smaller of the two Gram matrices, which have the same norm
    lengths = (deviations**2).sum(axis=1)
    squares = float((gram**2).sum()) / n_samples**2  # of S
    single = _mean(lengths**2, weights)  # of x x^T
    if p is None:
        return Spread(
            single - squares, _beyond_rounding(squares - lengths.mean() ** 2 / n, squares)
        )
    means = pair.coordinates(p.block_sums(deviations, axis=1), p.sizes)
    within = pair.within_of_rest(p.block_sums(deviations**2, axis=1) - means**2, p.sizes)
    projected = (means**2).sum(axis=1) ** 2 + pair.multiplicity_sum(within**2, p.sizes)
    between = means.T @ means / n_samples
    target = float(pair.squared_norm(between, within.mean(axis=0), p.sizes))
    distance = _beyond_rounding(squares - target, squares)
    return Spread(max(single - _mean(projected, weights) - distance, 0.0), distance)


def _mean(fourth_powers: Array, weights: Array | None) -> float:
    """Return the weighted mean over samples, of rows that are multiplied by roots of weights."""
    return float((fourth_powers if weights is None else fourth_powers / weights).mean())


def spread_of_covariance(S: Array, p: Partition | None, df: int) -> Spread:
    """Return the expectation of `spread_of`, given the covariance S (n, n) of Gaussian samples.

    S is divided by the number of samples, of which df degrees of freedom are left after the mean.
    """
    squares = float((S**2).sum())
    trace = float(np.trace(S))
    if p is None:
        fourth, target = trace**2 + 2 * squares, trace**2 / len(S)
    else:
        projection = fit(S, p)
        M, d = projection.between, projection.within
        fourth = trace**2 + 2 * squares - np.trace(M) ** 2 - 2 * (M**2).sum()
        several = p.sizes > 1
        m = p.sizes[several] - 1
        fourth -= (m * d[several] ** 2 + 2 * _deviation_squares(S, p)[several] / m).sum()
        target = float(pair.squared_norm(M, d, p.sizes))
    distance = _beyond_rounding(squares - target, squares)
    of_samples = df / (df + 2) * float(fourth)
    return Spread(max(of_samples - (squares if p is None else distance), 0.0), distance)


def _deviation_squares(S: Array, p: Partition) -> Array:
    """Return for each block the squared norm (k,) of Q S Q, with Q that subtracts its mean."""
    squares = []
    for first, last in pairwise(p.offsets):
        own = S[np.ix_(p.order[first:last], p.order[first:last])]
        own = own - own.mean(axis=0)
        own -= own.mean(axis=1, keepdims=True)
        squares.append((own**2).sum())
    return np.array(squares)


def _beyond_rounding(difference: float, of: float) -> float:
    """Return a difference of numbers of the size `of`, or 0 if it is rounding."""
    return difference if difference > 1e-12 * of else 0.0
