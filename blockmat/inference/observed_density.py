"""The normal density of what is observed of samples with missing values (:ref:`theory-gaps`)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.fitting.held_out import squared_distances
from blockmat.matrices.entries import entries

_MANY = 500  # missing values of a sample whose dense matrix is not formed


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

    A sample without a value has zeros. Missing values are replaced by their expectations given the
    observed ones, which changes no distance. It takes O(T n) and O(m^3) for each pattern of m
    missing values. A pattern that misses more than half of the variables, or very many, takes a
    submatrix instead.
    """
    covariance = covariance.astype(np.float64)
    observed = ~np.isnan(deviations)
    few: list[tuple[Array, Array]] = []
    many: list[tuple[Array, Array]] = []
    for rows in _by_pattern(observed):
        missing = np.flatnonzero(~observed[rows[0]])
        is_few = len(missing) <= min(_MANY, observed.shape[1] // 2)
        (few if is_few else many).append((rows, missing))
    distances, logdets = np.zeros((2, len(deviations)))
    if few:
        rows = np.concatenate([rows for rows, _ in few])
        filled = np.where(observed[rows], deviations[rows], 0.0)
        logdets[rows] = _fill(covariance, filled, few)
        distances[rows] = squared_distances(covariance, filled)
    for rows, missing in many:
        columns = np.delete(np.arange(observed.shape[1]), missing)
        if len(columns):
            part = covariance.submatrix(columns)
            logdets[rows] = part.logdet()
            distances[rows] = squared_distances(part, deviations[np.ix_(rows, columns)])
    return ObservedDensity(observed.sum(axis=1), distances, logdets)


def _fill(covariance: Any, filled: Array, patterns: list[tuple[Array, Array]]) -> Array:
    """Replace zeros of missing values by expectations, and return log-determinants of the rest.

    The rows of `filled` are those of the patterns, one after the other. With P the inverse of the
    covariance C, o what is observed and m what is missing, ``E(x_m | x_o) = -P_mm^-1 P_mo x_o``
    and ``det C_oo = det C det P_mm``.
    """
    precision, products = covariance.inv(), covariance.solve(filled.T).T
    logdets = np.full(len(filled), float(covariance.logdet()))
    start = 0
    for rows, missing in patterns:
        here, start = slice(start, start + len(rows)), start + len(rows)
        if len(missing):
            block = entries(precision, missing[:, None], missing)
            filled[here, missing] = -np.linalg.solve(block, products[here, missing].T).T
            logdets[here] += np.linalg.slogdet(block)[1]
    return logdets


def _by_pattern(observed: Array) -> Iterator[Array]:
    """Yield the rows of each pattern of observed values."""
    bits = np.ascontiguousarray(np.packbits(observed, axis=1))
    keys = bits.view(np.dtype((np.void, bits.shape[1])))[:, 0]
    _, inverse = np.unique(keys, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1)
