"""The normal density of what is observed of samples with missing values."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.fitting.held_out import squared_distances


class ObservedDensity(NamedTuple):
    """For each sample (T,), of its observed values: number, squared distance, log-determinant."""

    numbers: Array
    distances: Array
    logdets: Array

    @property
    def log_densities(self) -> Array:
        """The logarithm of the marginal density of the observed values of each sample, (T,)."""
        result: Array = -0.5 * (self.numbers * np.log(2 * np.pi) + self.logdets + self.distances)
        return result


def observed_density(covariance: Any, deviations: Array) -> ObservedDensity:
    """Return the density of deviations from the mean (T, n), with NaN for missing values.

    A sample without a value has zeros. Samples in which the same values are missing share a
    submatrix.
    """
    observed = ~np.isnan(deviations)
    distances, logdets = np.zeros((2, len(deviations)))
    for rows in _by_pattern(observed):
        columns = np.flatnonzero(observed[rows[0]])
        if len(columns) == 0:
            continue
        some = deviations[np.ix_(rows, columns)]
        part = covariance if len(columns) == len(observed.T) else covariance.submatrix(columns)
        logdets[rows] = part.logdet()
        distances[rows] = squared_distances(part, some)
    return ObservedDensity(observed.sum(axis=1), distances, logdets)


def _by_pattern(observed: Array) -> Iterator[Array]:
    """Yield the rows of each pattern of observed values."""
    bits = np.ascontiguousarray(np.packbits(observed, axis=1))
    keys = bits.view(np.dtype((np.void, bits.shape[1])))[:, 0]
    _, inverse = np.unique(keys, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1)
