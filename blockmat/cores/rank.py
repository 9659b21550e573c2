"""Rank and definiteness of cores: each row is judged relative to its own scale (:ref:`theory-rank`)."""

import numpy as np
import scipy.linalg

from blockmat.blocks.checks import Array
from blockmat.cores.core import EPS, Core

_SWEEPS = 64  # each sweep of `balancing_factors` halves the distance of exponents from 0


def balancing_factors(values: Array) -> tuple[Array, Array]:
    """Return factors of rows and of columns that bring the largest number in each near 1.

    The factors are powers of two, so scaling does not round. For a Hermitian matrix both are the
    same, and a positive semi-definite one then has a diagonal near 1.
    """
    size = np.abs(values)
    row, col = np.ones(size.shape[0]), np.ones(size.shape[1])
    if size.shape[0] == size.shape[1]:
        row = col = power_of_two_reciprocal(np.sqrt(np.diagonal(size)))
    for _ in range(_SWEEPS):
        scaled = (size * row[:, None]) * col
        rows, cols = scaled.max(axis=1, initial=0), scaled.max(axis=0, initial=0)
        if all(((x == 0) | ((x >= 0.25) & (x <= 4))).all() for x in (rows, cols)):
            break
        row = row * power_of_two_reciprocal(np.sqrt(rows))
        col = col * power_of_two_reciprocal(np.sqrt(cols))
    return row, col


def _balanced(core: Core, row_magnitudes: Array) -> Array:
    """Scale a dense core by `balancing_factors`; `row_magnitudes` (c,) count as diagonal entries."""
    values = core.hermitian_part if core.is_hermitian else core.values
    size = np.abs(values)
    np.fill_diagonal(size, np.maximum(np.diagonal(size), row_magnitudes))
    row, col = balancing_factors(size)
    scaled: Array = (values * row[:, None]) * col
    return scaled


def eigenvalue_signs(core: Core, eigenvalues: Array | None = None) -> Array:
    """Return the sign of each eigenvalue of a Hermitian core: 1, -1, or 0 for zero to rounding.

    The signs of a dense core are those of the balanced core, ascending. Eigenvalues up to the
    rounding of the core count as zero. So do eigenvalues that are zero beside `row_magnitudes`:
    positive ones in double precision, in which block sums are taken, and negative ones in the
    precision of the stored numbers. A positive number of a diagonal core that is no sum is never
    zero.

    Parameters
    ----------
    core : Core
        The core.
    eigenvalues : ndarray, shape (c,), optional
        The eigenvalues of a dense core, ascending. They save a decomposition if none is small.

    Returns
    -------
    ndarray of int, shape (c,)
        The signs.
    """
    if core.is_diagonal:
        values = np.real(core.values)
        is_negative = values < -core.rounding * core.row_magnitudes
        return np.where(is_negative, -1, np.where(values > _cancelled(core), 1, 0))
    if eigenvalues is not None and _are_clear(core, eigenvalues):
        return np.sign(eigenvalues).astype(int)
    w, noise = balanced_spectrum(core, core.row_magnitudes * (EPS / core.precision))
    signs = np.where(w < -noise, -1, np.where(w > noise, 1, 0))
    if core.precision > EPS and signs.min(initial=0) < 0:
        w, noise = balanced_spectrum(core, core.row_magnitudes)
        signs[np.count_nonzero(w < -noise) : np.count_nonzero(signs < 0)] = 0
    return signs


def _cancelled(core: Core) -> Array | float:
    """Return the size up to which numbers of a diagonal core may be what cancellation left."""
    return core.rounding * (EPS / core.precision) * core.row_magnitudes if core.is_sum else 0.0


def _are_clear(core: Core, w: Array) -> bool:
    """Tell whether no eigenvalue is near zero, even beside the largest number of all rows."""
    largest = max(np.abs(w).max(initial=0), core.row_magnitudes.max(initial=0))
    noise = core.rounding * max(1.0, EPS / core.precision * len(w))
    return bool(np.abs(w).min(initial=np.inf) > noise * largest)


def balanced_spectrum(core: Core, row_magnitudes: Array) -> tuple[Array, float]:
    """Return the eigenvalues of a balanced core, and their noise.

    For a core that is not Hermitian they are its singular values. The noise is the rounding of the
    stored numbers or that of LAPACK, whichever is larger.
    """
    spectrum = scipy.linalg.eigvalsh if core.is_hermitian else scipy.linalg.svdvals
    values = spectrum(_balanced(core, row_magnitudes), check_finite=False)
    largest = float(np.abs(values).max(initial=0))
    return values, core.rounding * max(1.0, EPS / core.precision * largest)


def count_nonzero(core: Core) -> int:
    """Count the eigenvalues of a core that are not zero to rounding, without multiplicities."""
    if core.is_diagonal:
        return int(np.count_nonzero(is_nonzero(core)))
    if core.is_hermitian:
        return int(np.count_nonzero(eigenvalue_signs(core)))
    values, noise = balanced_spectrum(core, core.row_magnitudes * (EPS / core.precision))
    return int(np.count_nonzero(values > noise))


def rank(core: Core) -> int:
    """Return what a core adds to the rank of the matrix, with all multiplicities."""
    if core.is_diagonal:
        return int(core.multiplicity[is_nonzero(core)].sum())
    return count_nonzero(core) * int(core.multiplicity.max(initial=0))


def is_nonzero(core: Core) -> Array:
    """Tell for each number of a diagonal core whether it is not zero to rounding."""
    nonzero: Array
    if core.is_hermitian:
        nonzero = eigenvalue_signs(core) != 0
    else:
        nonzero = np.abs(core.values) > _cancelled(core)
    return nonzero


def is_positive_definite(core: Core) -> bool:
    """Tell whether a core is Hermitian and all its eigenvalues are positive, beyond rounding."""
    return core.is_hermitian and bool((eigenvalue_signs(core) > 0).all())


def power_of_two_reciprocal(x: Array) -> Array:
    """Return a power of two near 1 / x, and 1 where x is 0."""
    _, exponent = np.frexp(x)
    return np.ldexp(1.0, np.where(x > 0, np.clip(-exponent, -1000, 1000), 0))
