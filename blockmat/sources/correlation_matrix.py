"""A given correlation or covariance matrix, as correlations and standard deviations."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_numeric, check_square, require_finite
from blockmat.cores.core import is_close_to_adjoint
from blockmat.exceptions import DtypeError, ShapeError
from blockmat.sources.symmetry import refuse_asymmetric

# Errors up to this, or 8 eps of the dtype, are rounding: correlations are often computed or stored
# in single precision
_ROUNDING = 1e-6
_ROWS_AT_A_TIME = 256


def as_correlation(R: Any, name: str) -> tuple[Array, Array]:
    """Return the correlations (n, n) and the standard deviations (n,) of a real symmetric matrix.

    A matrix with ones on its diagonal is a correlation matrix, and its standard deviations are 1.
    Any other matrix with a positive diagonal is a covariance matrix, which is standardized. The
    dtype is kept. The correlations are the array that was given if nothing has to be changed.

    Raises
    ------
    ShapeError
        If the matrix is empty, or not square.
    DtypeError
        If it is sparse, complex or not numeric.
    NonFiniteError, NotHermitianError
        If it has NaN or infinity, or is not symmetric.
    ValueError
        If a variance is not positive, or a correlation is not between -1 and 1.
    """
    C = as_numeric(R, name, (2,))
    if C.dtype.kind == "c":
        raise DtypeError(f"{name} has dtype {C.dtype}; expected real numbers")
    check_square(C.shape, name, "for samples give samples=True")
    if len(C) == 0:
        raise ShapeError(f"{name} has no variables; expected at least one")
    require_finite(C, name)
    eps = float(np.finfo(C.dtype).eps)
    if not is_close_to_adjoint(C, np.sqrt(eps)):
        refuse_asymmetric(C, name)
    variances = C.diagonal().astype(np.float64)
    wrong = np.flatnonzero(variances <= 0)
    if len(wrong):
        raise ValueError(
            f"{name} has the variance {variances[wrong[0]]} at index {wrong[0]}; expected positive "
            f"variances"
        )
    has_ones = has_unit_diagonal(C)
    scale = np.ones(len(C)) if has_ones else np.sqrt(variances)
    if not has_ones:
        C = _divided(C, scale)
    place = first_beyond_one(C)
    if place is None:
        return C, scale
    if has_ones:
        raise ValueError(
            f"{name} has ones on its diagonal and {C[place]} at index {place}; expected "
            f"correlations from -1 to 1"
        )
    raise ValueError(
        f"{name} has the correlation {C[place]} at index {place}, its entry divided by both "
        f"standard deviations; expected correlations from -1 to 1"
    )


def has_unit_diagonal(C: Array) -> bool:
    """Whether the diagonal of a matrix (n, n) is one, to rounding."""
    return bool((np.abs(C.diagonal().astype(np.float64) - 1) <= _rounding(C)).all())


def first_beyond_one(C: Array) -> tuple[int, int] | None:
    """Return the index of the first entry that is above 1 or below -1 by more than rounding."""
    for i in range(0, len(C), _ROWS_AT_A_TIME):
        beyond = np.argwhere(np.abs(C[i : i + _ROWS_AT_A_TIME]) > 1 + _rounding(C))
        if len(beyond):
            return i + int(beyond[0, 0]), int(beyond[0, 1])
    return None


def _rounding(C: Array) -> float:
    return max(_ROUNDING, 8 * float(np.finfo(C.dtype).eps))


def _divided(C: Array, scale: Array) -> Array:
    """Return ``C / outer(scale, scale)`` with ones on the diagonal, in the dtype of C."""
    result = np.empty_like(C)
    for i in range(0, len(C), _ROWS_AT_A_TIME):
        rows = slice(i, i + _ROWS_AT_A_TIME)
        result[rows] = C[rows] / scale[rows, None] / scale
    np.fill_diagonal(result, 1)
    return result
