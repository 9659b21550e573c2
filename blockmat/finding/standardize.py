"""Samples with means and standard deviations taken out."""

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpstrf

from blockmat.blocks.checks import Array
from blockmat.cores.scale import exponents_of

_AT_A_TIME = 2**20  # numbers that are squared


class Standardized(NamedTuple):
    """Samples (T, n) without their mean, in units of their scale."""

    deviations: Array
    location: Array
    scale: Array


def standardize(
    X: Array, centre: bool = True, scaled: bool = True, otherwise: str = ""
) -> Standardized:
    """Subtract the means of samples and divide by the standard deviations, in double precision.

    Refuses a column that is constant but for the rounding of its numbers, if it is to be
    divided by its standard deviation.
    """
    low, high = (np.asarray(f(X, axis=0), dtype=np.float64) for f in (np.min, np.max))
    if not centre:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    size = np.maximum(-low, high)
    if scaled:
        rounding = 2 * float(np.finfo(X.dtype).eps) * size
        constant = np.flatnonzero(high - low <= rounding)
        if len(constant):
            raise ValueError(
                f"column {constant[0]} of X is constant; expected variables that vary{otherwise}"
            )
    exponents = exponents_of(size)
    unit = np.ldexp(1.0, np.clip(exponents, -1000, 1000))
    deviations = X.astype(np.float64)
    if exponents.any():
        deviations /= unit
    location = np.zeros(X.shape[1])
    for _ in range(2 if centre else 0):  # the second time, by the rounding of the first mean
        mean = deviations.mean(axis=0)
        deviations -= mean
        location += mean
    scale = np.ones(X.shape[1])
    if scaled:
        scale = np.sqrt(np.mean(deviations**2, axis=0))
        deviations /= scale
        return Standardized(deviations, location * unit, scale * unit)
    if exponents.any():
        deviations *= unit
    return Standardized(deviations, location * unit, scale)


def sum_of_squares(x: Array) -> float:
    """Return the sum of the squares of all entries, pairwise: a norm's rounding grows with n."""
    n_parts = max(1, min(len(x), x.size // _AT_A_TIME))
    parts = (np.square(part, dtype=np.float64).sum() for part in np.array_split(x, n_parts))
    return math.fsum(parts)


def same_products(Z: Array) -> Array:
    """Return at most n rows with the same products ``Z^T Z`` of n columns as the rows of Z.

    They are Z itself or, of more rows, the pivoted Cholesky factor of the products, which stops
    where only rounding is left: other rows are zero. Columns have a unit of their own, so that each entry of the
    products is as accurate as its own row and column.
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
