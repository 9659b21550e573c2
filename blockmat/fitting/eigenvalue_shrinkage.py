"""Nonlinear shrinkage of the eigenvalues of a sample covariance (:ref:`theory-nonlinear`)."""

from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array


class ShrunkEigenvalues(NamedTuple):
    """Estimates for the eigenvectors of positive eigenvalues, (r,), and for all others."""

    values: Array
    rest: float


def quadratic_inverse_shrinkage(values: Array, n: int, n_samples: float) -> ShrunkEigenvalues:
    """Shrink the positive eigenvalues (r,) of the covariance of n variables.

    `n_samples` is the number of independent deviations from the mean: T - 1 for T samples, or T
    if the mean is known. Smaller ranks count as that many samples. The sum of all n eigenvalues
    stays the same. It takes O(r^2).
    """
    rank = len(values)
    if not rank:
        return ShrunkEigenvalues(values, 0.0)
    effective = min(n_samples, rank) if rank < n else n_samples
    ratio = n / effective
    inverse = values.mean() / values
    bandwidth = (min(ratio, 1 / ratio) ** 2 / n) ** 0.35
    hilbert, density = _smoothed(inverse, bandwidth)
    amplitude = hilbert**2 + density**2
    if ratio <= 1:
        precision = (1 - ratio) ** 2 + ratio * (2 * (1 - ratio) * hilbert + ratio * amplitude)
        shrunk = 1 / (inverse * precision)
        rest = shrunk.min()
    else:
        shrunk = 1 / (inverse * amplitude)
        rest = 1 / ((ratio - 1) * inverse.mean()) if rank < n else shrunk.min()
    unit = values.sum() / (shrunk.sum() + (n - rank) * rest)
    return ShrunkEigenvalues(shrunk * unit, float(rest * unit))


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
