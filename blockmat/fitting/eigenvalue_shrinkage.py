"""Nonlinear shrinkage of the eigenvalues of a sample covariance (:ref:`theory-nonlinear`)."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, isotonic_regression

from blockmat.blocks.checks import Array

_UNEQUAL = 1.5  # rows for each effective one, from which the formula for equal weights is not used
_WIDEST = 0.9 * np.pi  # angles at and above pi belong to no spectrum


class ShrunkEigenvalues(NamedTuple):
    """Estimates for the eigenvectors of positive eigenvalues, (r,), and for all others."""

    values: Array
    rest: float


class Deviations(NamedTuple):
    """The number of independent deviations from the mean: the effective one, and that of rows."""

    n_effective: float
    n_rows: float


def quadratic_inverse_shrinkage(
    values: Array, n: int, n_samples: float, n_rows: float | None = None
) -> ShrunkEigenvalues:
    """Shrink the positive eigenvalues (r,) of the covariance of n variables.

    Parameters
    ----------
    values : ndarray, shape (r,)
        The positive eigenvalues, descending.
    n : int
        The number of variables.
    n_samples : float
        The effective number m of independent deviations from the mean: T - 1 for T samples, or T if
        the mean is known. If r is below n, smaller ranks count as that many samples.
    n_rows : float, optional
        The number of deviations with a positive weight; by default m, for equal weights.

    Returns
    -------
    ShrunkEigenvalues
        The new eigenvalues. The sum of all n stays the same.

    Notes
    -----
    If there are more rows than m, they have different weights, and r may be above m. The formula for
    equal weights has a pole there. So weights are taken to decay exponentially from row to
    row, and eigenvalues after the first m count as one (:ref:`theory-nonlinear`). Between one and
    1.5 rows for each effective one, the result is a weighted mean of both. It takes O(r^2).
    """
    rank = len(values)
    if not rank:
        return ShrunkEigenvalues(values, 0.0)
    effective, rows = n_samples, n_samples if n_rows is None else n_rows
    if rank < n:
        effective, rows = min(effective, rank), min(rows, rank)
    share = min(max(rows / effective - 1, 0) / (_UNEQUAL - 1), 1)  # of the second formula
    result, trace = np.zeros(rank + 1), values.sum()
    if share < 1:  # of all rows, so that no eigenvalue is beyond the pole
        equal = _of_equal_weights(values, n, max(effective, rows))
        result += (1 - share) * _with_trace(*equal, n, trace)
    if share > 0:
        decaying = _of_decaying_weights(values, n, effective, rows)
        result += share * _with_trace(*decaying, n, trace)
    return ShrunkEigenvalues(result[:-1], float(result[-1]))


def _with_trace(shrunk: Array, rest: float, n: int, trace: float) -> Array:
    """Return r eigenvalues and the rest, (r + 1,), times the number that gives the trace."""
    unit = trace / (shrunk.sum() + (n - len(shrunk)) * rest)
    result: Array = np.append(shrunk, rest) * unit
    return result


def _of_equal_weights(values: Array, n: int, n_samples: float) -> tuple[Array, float]:
    ratio = n / n_samples
    inverse = values.mean() / values
    hilbert, density = _smoothed(inverse, (min(ratio, 1 / ratio) ** 2 / n) ** 0.35)
    amplitude = hilbert**2 + density**2
    if ratio > 1:
        return 1 / (inverse * amplitude), float(1 / ((ratio - 1) * inverse.mean()))
    precision = (1 - ratio) ** 2 + ratio * (2 * (1 - ratio) * hilbert + ratio * amplitude)
    shrunk = 1 / (inverse * precision)
    return shrunk, float(shrunk.min())


def _of_decaying_weights(
    values: Array, n: int, n_samples: float, n_rows: float
) -> tuple[Array, float]:
    """Return the eigenvalues and the rest, up to a common factor.

    Logarithms keep exponentials of many variables for each sample in the range.
    """
    decay = _total_decay(n_rows / n_samples)
    hilbert, density = _smoothed(values.mean() / values, min(n, n_samples) ** -0.5)
    scale = decay * len(values) / n_rows
    exponent, angle = scale * (1 - hilbert), np.minimum(scale * density, _WIDEST)
    gap = exponent - decay  # log |e^-a E|
    small = np.exp(-np.abs(gap))
    log_distance = 2 * np.maximum(gap, 0) + np.log1p(small * (small - 2 * np.cos(angle)))
    logs = np.log(values) + exponent + np.log(np.sin(angle) / angle) - log_distance
    n_kept = max(int(n_samples), 1)
    shrunk = np.exp(logs - logs[:n_kept].max())
    if n_kept >= n:
        return shrunk, float(shrunk.min())
    kept = 1 / isotonic_regression(1 / shrunk[:n_kept]).x
    rest = kept[n_kept // 2 :].mean()
    return np.append(kept, np.full(len(values) - n_kept, rest)), float(rest)


def _total_decay(ratio: float) -> float:
    """Return a, for weights ``exp(-a t / T)`` whose effective number is T divided by the ratio.

    It solves ``(a / 2) coth(a / 2) = ratio``.
    """
    return float(brentq(lambda a: a / 2 / np.tanh(a / 2) - ratio, 1e-6, 2 * ratio + 1, xtol=1e-14))


def _smoothed(inverse: Array, bandwidth: float) -> tuple[Array, Array]:
    """Return the smoothed Hilbert transform of inverse eigenvalues, and their smoothed density.

    With y the inverse eigenvalues and h the bandwidth they are, at each x of them, the means of
    ``y (y - x) / q`` and of ``h y^2 / q`` with ``q = (y - x)^2 + h^2 y^2``.
    """
    hilbert, density = np.empty((2, len(inverse)))
    width = bandwidth * inverse
    for i, x in enumerate(inverse):
        distance = inverse - x
        weights = inverse / (distance**2 + width**2)
        hilbert[i], density[i] = np.mean(weights * distance), np.mean(weights * width)
    return hilbert, density
