"""Matrix functions of cores: powers, exponential, logarithm and any scalar function."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from blockmat.blocks.checks import Array
from blockmat.cores.core import EPS, Core, hermitian_part, with_values
from blockmat.cores.factors import factorize, inv, require_nonzero
from blockmat.cores.products import reassemble
from blockmat.cores.rank import balance, count_nonzero, rank, signs
from blockmat.cores.scale import largest_of, times_power
from blockmat.cores.spectrum import accurate_eigh, dense_eigh, eigh
from blockmat.exceptions import (
    IndefiniteMatrixError,
    NonFiniteError,
    ShapeError,
    SingularMatrixError,
)


# Matrix functions
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
    values, exponent = _near_one(core)
    if p == 0.5:
        with warnings.catch_warnings():  # a failure is raised by _principal below
            warnings.simplefilter("ignore")
            result = scipy.linalg.sqrtm(values)
    else:
        result = scipy.linalg.fractional_matrix_power(values, p)
    half = 2.0 ** (exponent * p / 2)  # the whole factor may be out of range
    scaled: Array = _principal(core, result, operation) * half * half
    return scaled


def _near_one(core: Core) -> tuple[Array, int]:
    """Return values divided by ``2^e``, with the largest near 1, and e, which is a multiple of 4.

    SciPy's Schur methods, which are for cores that are not Hermitian, lose digits of very small
    and very large numbers.
    """
    exponent = int(np.frexp(largest_of(core.values))[1]) // 4 * 4
    return times_power(core.values, -exponent), exponent


def _power_of_singular(core: Core, p: float, operation: str) -> Array:
    """Return the p-th power, p > 0, of a singular core that is not Hermitian.

    With ``core = R L`` of full rank r, an integer power is ``R (L R)^(p - 1) L``, and so is any
    other that exists: L R has the eigenvalues of the core but for r - c zeros.
    """
    row, col = balance(core.values)
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
    """Check eigenvalues against the domain of a fractional power, and round noise to 0."""
    if np.iscomplexobj(w):
        if p < 0:
            require_nonzero(core, operation)
        return w
    if w.size == 0:
        return w
    sign = signs(core, w)
    if p < 0:
        _refuse_singular(core, w, sign, operation)
    if sign.min() < 0:
        if core.is_complex:
            return np.where(sign == 0, 0, w).astype(complex)
        row = int(np.argmin(w))
        raise IndefiniteMatrixError(
            f"{operation} of a real matrix needs eigenvalues that are not negative, and "
            f"{core.describe(row if core.is_diagonal else None)} has {w[row]:.3g}; "
            f"use A.astype(complex) for the complex result"
        )
    return np.maximum(w, 0)


def _refuse_singular(core: Core, w: Array, sign: Array, operation: str) -> None:
    """Raise if an eigenvalue is zero to rounding, or has been computed with the wrong sign."""
    if core.is_diagonal:
        require_nonzero(core, operation)
        return
    if not sign.all():
        factorize(core, operation)
    if not sign.all() or (np.sign(w) != sign).any():
        raise SingularMatrixError(
            f"{operation} needs an invertible matrix, and {core.describe()} has eigenvalues "
            f"that are zero beside the largest, {np.abs(w).max():.3g}, to working precision"
        )


def power_on_range(core: Core, p: float) -> tuple[Array, float, int]:
    """Take the p-th power of the positive eigenvalues of a positive semi-definite core.

    Eigenvalues that are zero to rounding stay zero. Also returns the logarithm of the product
    of the others and how many there are, multiplicities included.
    """
    if core.is_diagonal:
        keep = signs(core) > 0
        values = np.where(keep, np.real(core.values), 1.0)
        return np.where(keep, values**p, 0.0), float(core.multiplicity @ np.log(values)), rank(core)
    w, v = accurate_eigh(core)
    kept = w.size - count_nonzero(core)
    w = np.maximum(w[kept:], np.finfo(np.float64).tiny)
    multiplicity = int(core.multiplicity.max(initial=0))
    return reassemble(v[:, kept:], w**p), multiplicity * float(np.log(w).sum()), rank(core)


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
    values, exponent = _near_one(core)
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
        result = np.asarray(f(w))
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
        warnings.warn(
            f"f of {core.describe()}, which is not Hermitian, may be inaccurate: "
            f"estimated relative error {error:.1e}",
            scipy.linalg.LinAlgWarning,
            stacklevel=4,
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
