"""Standardized samples: columns with mean zero and variance one."""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dpstrf

from blockmat.blocks.checks import Array
from blockmat.cores.scale import exponents_of

_AT_A_TIME = 2**20  # numbers that are squared at once


class Standardized(NamedTuple):
    """Samples as ``location + scale * deviations``.

    ``deviations`` is (T, n), ``location`` and ``scale`` are (n,).
    """

    deviations: Array
    location: Array
    scale: Array


def standardize(
    X: Array, centre: bool = True, unit_variance: bool = True, hint: str = ""
) -> Standardized:
    """Subtract the mean of each column and divide by its standard deviation, in double precision.

    With `unit_variance` a constant column is an error, whose message ends in `hint`.
    """
    low, high = (np.asarray(f(X, axis=0), dtype=np.float64) for f in (np.min, np.max))
    if not centre:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    size = np.maximum(-low, high)
    if unit_variance:
        refuse_constant(low, high, X.dtype, hint)
    exponents = exponents_of(size)
    unit = np.ldexp(1.0, np.clip(exponents, -1000, 1000))
    deviations = X.astype(np.float64)
    if exponents.any():
        deviations /= unit
    location = np.zeros(X.shape[1])
    for _ in range(2 if centre else 0):  # the second pass subtracts the rounding of the first mean
        mean = deviations.mean(axis=0)
        deviations -= mean
        location += mean
    scale = np.ones(X.shape[1])
    if unit_variance:
        scale = np.sqrt(np.mean(deviations**2, axis=0))
        deviations /= scale
        return Standardized(deviations, location * unit, scale * unit)
    if exponents.any():
        deviations *= unit
    return Standardized(deviations, location * unit, scale)


def refuse_constant(low: Array, high: Array, dtype: Any, hint: str) -> None:
    """Raise ValueError for columns whose smallest and largest numbers (n,) are equal to rounding."""
    rounding = 2 * float(np.finfo(dtype).eps) * np.maximum(-low, high)
    constant = np.flatnonzero(high - low <= rounding)
    if len(constant):
        raise ValueError(
            f"column {constant[0]} of X is constant; expected variables that vary{hint}"
        )


def sum_of_squares(x: Array) -> float:
    """Return the sum of all squares, added pairwise; the rounding of a norm grows with n."""
    n_parts = max(1, min(len(x), x.size // _AT_A_TIME))
    parts = (np.square(part, dtype=np.float64).sum() for part in np.array_split(x, n_parts))
    return math.fsum(parts)


def compress_rows(Z: Array) -> Array:
    """Return at most n rows R with ``R^T R = Z^T Z``, for Z with n columns.

    R is Z itself if Z has at most n rows. Otherwise it is the pivoted Cholesky factor of
    ``Z^T Z``, with zero rows once only rounding is left. The columns are scaled to unit length
    for the factorization, so that the size of one column does not limit the accuracy of others.
    """
    n_rows, n = Z.shape
    if n_rows <= n:
        return Z
    units = np.maximum(Z.max(axis=0), -Z.min(axis=0)).astype(np.float64)
    units[units == 0] = 1
    gram, height = np.zeros((n, n)), max(1, _AT_A_TIME // n)
    for first in range(0, n_rows, height):
        rows = Z[first : first + height] / units
        gram += rows.T @ rows
    lengths = np.sqrt(np.diag(gram))
    lengths[lengths == 0] = 1
    factor, order, rank, _ = dpstrf(gram / np.outer(lengths, lengths))
    rows = np.zeros((n, n))
    rows[:rank, order - 1] = np.triu(factor)[:rank]
    rows *= units * lengths
    return rows.astype(Z.dtype, copy=False)
