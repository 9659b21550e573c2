"""Matrix functions of cores: powers, exponential, logarithm, and any function (:ref:`theory-functions`)."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from blockmat.blocks.checks import Array
from blockmat.blocks.warn import warn
from blockmat.cores.core import EPS, Core, hermitian_part, with_values
from blockmat.cores.factors import factorize, inv, require_nonzero
from blockmat.cores.products import reassemble
from blockmat.cores.rank import balancing_factors, count_nonzero, eigenvalue_signs, rank
from blockmat.cores.scale import largest_of, times_power
from blockmat.cores.spectrum import accurate_eigh, dense_eigh, eigh
from blockmat.exceptions import (
    IndefiniteMatrixError,
    NonFiniteError,
    ShapeError,
    SingularMatrixError,
)


def power(core: Core, p: float, operation: str) -> Array:
    """Return the principal p-th power of a core.

    Raises
    ------
    SingularMatrixError
        If `p` is negative and the core singular.
    IndefiniteMatrixError
        If the result of a real core would not be real.
    """
    if float(p).is_integer():
        return _integer_power(core, int(p), operation)
    if core.is_diagonal or core.is_hermitian:
        w, v = eigh(core) if core.is_hermitian else (core.values, None)
        w = _domain_of_power(core, w, p, operation)
        return w**p if core.is_diagonal else reassemble(v, w**p)
    if p < 0:
        return power(with_values(core, inv(core, operation)), -p, operation)
    if count_nonzero(core) < len(core.values):
        return _power_of_singular(core, p, operation)
    values, exponent = _scaled_to_one(core)
    if p == 0.5:
        with warnings.catch_warnings():  # a failure is raised by _principal below
            warnings.simplefilter("ignore")
            result = scipy.linalg.sqrtm(values)
    else:
        result = scipy.linalg.fractional_matrix_power(values, p)
    half = 2.0 ** (exponent * p / 2)  # the whole factor may be out of range
    scaled: Array = _principal(core, result, operation) * half * half
    return scaled


def _scaled_to_one(core: Core) -> tuple[Array, int]:
    """Return the values divided by ``2^e``, so that the largest is near 1, and e, a multiple of 4.

    SciPy's Schur methods, which are used for cores that are not Hermitian, lose digits of very
    small and very large numbers.
    """
    exponent = int(np.frexp(largest_of(core.values))[1]) // 4 * 4
    return times_power(core.values, -exponent), exponent


def _power_of_singular(core: Core, p: float, operation: str) -> Array:
    """Return the p-th power, p > 0, of a singular core that is not Hermitian.

    If ``core = R L`` and r is the rank of R and L, the power is ``R (L R)^(p - 1) L``. The r x r
    matrix L R has the same eigenvalues without c - r zeros.
    """
    row, col = balancing_factors(core.values)
    u, s, vh = scipy.linalg.svd((core.values * row[:, None]) * col, check_finite=False)
    r = count_nonzero(core)
    if r == 0:
        return np.zeros_like(core.values)
    R, L = (u[:, :r] * s[:r]) / row[:, None], vh[:r] / col
    inner = with_values(core, L @ R)
    if p < 1 and count_nonzero(inner) < r:
        raise SingularMatrixError(
            f"{operation} does not exist: {core.describe()} is singular, and its eigenvalue 0 has "
            f"fewer eigenvectors than its multiplicity"
        )
    result: Array = R @ power(inner, p - 1, operation) @ L
    return result


def _integer_power(core: Core, p: int, operation: str) -> Array:
    base = inv(core, operation) if p < 0 else core.values
    if core.is_diagonal:
        return base ** abs(p)
    result: Array = np.linalg.matrix_power(base, abs(p))
    return hermitian_part(result) if core.is_hermitian else result


def _domain_of_power(core: Core, w: Array, p: float, operation: str) -> Array:
    """Return the eigenvalues w, with noise set to 0, or raise if their p-th power does not exist."""
    if np.iscomplexobj(w):
        if p < 0:
            require_nonzero(core, operation)
        return w
    if w.size == 0:
        return w
    signs = eigenvalue_signs(core, w)
    if p < 0:
        _refuse_singular(core, w, signs, operation)
    if signs.min() < 0:
        if core.is_complex:
            return np.where(signs == 0, 0, w).astype(complex)
        row = int(np.argmin(w))
        raise IndefiniteMatrixError(
            f"{operation} of a real matrix needs eigenvalues that are not negative, and "
            f"{core.describe(row if core.is_diagonal else None)} has {w[row]:.3g}; "
            f"use A.astype(complex) for the complex result"
        )
    return np.maximum(w, 0)


def _refuse_singular(core: Core, w: Array, signs: Array, operation: str) -> None:
    """Raise if an eigenvalue is zero to rounding, or was computed with the wrong sign."""
    if core.is_diagonal:
        require_nonzero(core, operation, signs)
        return
    if not signs.all():
        factorize(core, operation)  # its message has the condition number
    if not signs.all() or (np.sign(w) != signs).any():
        raise SingularMatrixError(
            f"{operation} needs an invertible matrix, and {core.describe()} has eigenvalues "
            f"that are zero beside the largest, {np.abs(w).max():.3g}, to working precision"
        )


class PositivePart(NamedTuple):
    """A power of the positive eigenvalues of a positive semi-definite core.

    Parameters
    ----------
    power : ndarray, shape (c,) or (c, c)
        The core with these eigenvalues raised to the power. The others stay zero.
    logdet : float
        The logarithm of the product of the positive eigenvalues, with all multiplicities.
    rank : int
        The number of the positive eigenvalues, with all multiplicities.
    """

    power: Array
    logdet: float
    rank: int


def power_of_positive_part(core: Core, p: float) -> PositivePart:
    """Take the p-th power of the positive eigenvalues of a positive semi-definite core."""
    if core.is_diagonal:
        is_positive = eigenvalue_signs(core) > 0
        values = np.where(is_positive, np.real(core.values), 1.0)
        logdet = float(core.multiplicity @ np.log(values))
        return PositivePart(np.where(is_positive, values**p, 0.0), logdet, rank(core))
    w, v = accurate_eigh(core)
    n_zero = w.size - count_nonzero(core)
    w = np.maximum(w[n_zero:], np.finfo(np.float64).tiny)
    logdet = int(core.multiplicity.max(initial=0)) * float(np.log(w).sum())
    return PositivePart(reassemble(v[:, n_zero:], w**p), logdet, rank(core))


def exp(core: Core) -> Array:
    """Return the exponential of a core."""
    if core.is_diagonal:
        return np.exp(core.values)
    if core.is_hermitian:
        w, v = accurate_eigh(core)
        return reassemble(v, np.exp(w))
    result: Array = scipy.linalg.expm(core.values)
    return result


def log(core: Core) -> Array:
    """Return the principal logarithm of a core.

    Raises
    ------
    SingularMatrixError
        If the core is singular.
    IndefiniteMatrixError
        If the logarithm of a real core would not be real.
    """
    if core.is_diagonal or core.is_hermitian:
        w, v = eigh(core) if core.is_hermitian else (core.values, None)
        w = _domain_of_power(core, w, -1, "logm")
        return np.log(w) if core.is_diagonal else reassemble(v, np.log(w))
    factorize(core, "logm")
    values, exponent = _scaled_to_one(core)
    logarithm: Array = _principal(core, scipy.linalg.logm(values), "logm")
    logarithm = logarithm + exponent * np.log(2) * np.eye(len(values))
    return logarithm


def funm(core: Core, f: Callable[[Array], Any]) -> Array:
    """Apply a scalar function to the spectrum of a core.

    Raises
    ------
    ShapeError
        If `f` does not return one value per eigenvalue.
    NonFiniteError
        If `f` is not finite on the spectrum.
    """

    def checked(w: Array) -> Array:
        result = np.asarray(f(w.copy()))  # f may change its argument
        if result.shape != w.shape:
            raise ShapeError(
                f"f returned shape {result.shape}; expected {w.shape}, one value per eigenvalue"
            )
        if not np.isfinite(result).all():
            bad = w[~np.isfinite(result)][0]
            raise NonFiniteError(
                f"f is not finite at the eigenvalue {bad:.6g} of {core.describe()}"
            )
        return result

    if core.values.size == 0:
        return core.values
    if core.is_diagonal:
        return checked(np.real(core.values) if core.is_hermitian else core.values)
    if core.is_hermitian:
        w, v = accurate_eigh(core)
        return reassemble(v, checked(w))
    result, error = scipy.linalg.funm(core.values, checked, disp=False)
    if error > 1000 * EPS:
        warn(
            f"f of {core.describe()}, which is not Hermitian, may be inaccurate: "
            f"estimated relative error {error:.1e}",
            scipy.linalg.LinAlgWarning,
        )
    return np.asarray(result)


def clip(core: Core, minimum: float) -> Array:
    """Return the Hermitian part with its eigenvalues raised to at least `minimum`."""
    if core.is_diagonal:
        clipped: Array = np.maximum(np.real(core.values), minimum)
        return clipped
    w, v = dense_eigh(core.hermitian_part)
    return reassemble(v, np.maximum(w, minimum))


def _principal(core: Core, result: Array, operation: str) -> Array:
    """Return a result computed by SciPy, or raise if it does not exist over the reals."""
    if not np.isfinite(result).all():
        raise SingularMatrixError(f"{operation} does not exist: {core.describe()} is singular")
    if np.iscomplexobj(result) and not core.is_complex:
        if np.abs(result.imag).max() <= np.sqrt(EPS) * np.abs(result).max():
            return np.real(result)  # SciPy's Schur methods compute real powers over C
        raise IndefiniteMatrixError(
            f"{operation} of a real matrix needs eigenvalues off the negative real axis, and "
            f"{core.describe()} has one on it; use A.astype(complex) for the complex result"
        )
    return result
