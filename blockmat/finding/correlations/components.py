"""How many dimensions correlations have, and how much of each is noise."""

import numpy as np

from blockmat.blocks.checks import Array

_EQUAL = 1e-7  # difference of variables that are equal, relative to their size
_ROUNDING = 32  # eps of the dtype, which such a difference can be too


def n_components(rank: int, columns: Array) -> int:
    """Return the rank of the correlations of n variables, or n if only equal variables lower it.

    Variables are equal if their `columns` (m, n) are, or if these differ by the sign.
    """
    n = columns.shape[1]
    return rank if rank < _n_different(columns) else n


def noise_of(values: Array, count: int) -> float:
    """Return the median of the largest `count` of some ascending values, and zeros if they are fewer.

    It estimates the variance of noise in each principal component.
    """
    count = max(count, 1)
    largest = values[-count:]
    largest = np.concatenate([np.zeros(count - len(largest)), largest])
    return max(float(np.median(largest)), float(np.finfo(np.float64).tiny))


def _n_different(columns: Array) -> int:
    """Return how many columns are left if equal ones count once, by one random combination of rows."""
    projected = np.abs(np.random.default_rng(0).standard_normal(len(columns)) @ columns)
    tolerance = max(_EQUAL, _ROUNDING * float(np.finfo(columns.dtype).eps)) * projected.max()
    return 1 + int(np.count_nonzero(np.diff(np.sort(projected)) > tolerance))
