"""Standardized samples: columns with mean zero and variance one."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dpstrf

from blockmat.blocks.checks import Array
from blockmat.blocks.names import some_columns
from blockmat.cores.scale import exponents_of

_AT_A_TIME = 2**20  # numbers that are squared at once


class Standardized(NamedTuple):
    """Samples as ``location + scale * deviations``.

    ``deviations`` is (T, n), ``location`` and ``scale`` are (n,).
    """

    deviations: Array
    location: Array
    scale: Array

    def times(self, signs: Array) -> "Standardized":
        """Return the same samples, with signs (n,) in both the deviations and the scales."""
        if (signs > 0).all():
            return self
        return Standardized(self.deviations * signs, self.location, self.scale * signs)

    def rounding(self, dtype: Any) -> float:
        """Return the largest error of the deviations by the rounding of samples to a dtype."""
        sizes = 1 + np.abs(self.location) / np.abs(self.scale)
        return float(np.finfo(dtype).eps / 2 * sizes.max(initial=1))

    def astype(self, dtype: Any) -> "Standardized":
        """Return them in another precision."""
        return Standardized(*(part.astype(dtype, copy=False) for part in self))


class StandardRows(NamedTuple):
    """Samples reduced to rows Z (m, n) with the correlation matrix ``Z.T @ Z / m``.

    `n_samples` is the number of samples that they count as by their weights, and `rounding` the
    largest rounding error of Z.
    """

    deviations: Array
    n_samples: int
    rounding: float = 0.0


class ColumnRange(NamedTuple):
    """The smallest and the largest number of each column, (n,), and zero if the mean is known."""

    low: Array
    high: Array

    @classmethod
    def of(cls, X: Array, centre: bool = True) -> "ColumnRange":
        """Return the range of samples (T, n)."""
        low, high = (np.asarray(f(X, axis=0), dtype=np.float64) for f in (np.min, np.max))
        return cls(low, high) if centre else cls(low, high).with_zero()

    def with_zero(self) -> "ColumnRange":
        """Return the range of the same numbers and zero."""
        return ColumnRange(np.minimum(self.low, 0), np.maximum(self.high, 0))

    def join(self, other: "ColumnRange") -> "ColumnRange":
        """Return the range of these and other samples."""
        return ColumnRange(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    @property
    def size(self) -> Array:
        """The largest absolute value of each column."""
        return np.maximum(-self.low, self.high)

    def is_constant(self, dtype: Any) -> Array:
        """Whether the numbers of each column are equal to rounding, (n,)."""
        constant: Array = self.high - self.low <= 2 * float(np.finfo(dtype).eps) * self.size
        return constant


def standardize(
    X: Array,
    centre: bool = True,
    unit_variance: bool = True,
    hint: str = "",
    weights: Array | None = None,
    names: Sequence[Any] | None = None,
) -> Standardized:
    """Subtract the mean of each column and divide by its standard deviation, in double precision.

    With `unit_variance` a constant column is an error, whose message ends in `hint`. With
    `weights` (T,), whose mean is 1, means and variances are weighted, and each row of the
    deviations D is multiplied by the root of its weight: ``D.T @ D / T`` is the weighted
    covariance. `names` (n,) are the names of the columns, for messages.
    """
    columns = ColumnRange.of(X, centre)
    if unit_variance:
        require_varying(columns.is_constant(X.dtype), hint, names)
    exponents = exponents_of(columns.size)
    unit = np.ldexp(1.0, np.clip(exponents, -1000, 1000))
    deviations = X.astype(np.float64)
    if exponents.any():
        deviations /= unit
    location = np.zeros(X.shape[1])
    for _ in range(2 if centre else 0):  # the second pass subtracts the rounding of the first mean
        mean = deviations.mean(axis=0) if weights is None else weights @ deviations / len(weights)
        deviations -= mean
        location += mean
    if weights is not None:
        deviations *= np.sqrt(weights)[:, None]
    scale = np.ones(X.shape[1])
    if unit_variance:
        scale = np.sqrt(np.mean(deviations**2, axis=0))
        deviations /= scale
        return Standardized(deviations, location * unit, scale * unit)
    if exponents.any():
        deviations *= unit
    return Standardized(deviations, location * unit, scale)


def require_varying(constant: Array, hint: str = "", names: Sequence[Any] | None = None) -> None:
    """Raise ValueError for constant columns, with a message that ends in `hint`."""
    if constant.any():
        raise ValueError(
            f"X is constant in {some_columns(constant, names)}; expected variables that vary, such as "
            f"X.loc[:, X.nunique() > 1] of a DataFrame{hint}"
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
