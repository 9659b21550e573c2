"""Functions of the small cores that a block-constant matrix is a direct sum of.

A block-constant matrix is unitarily similar to ``M (+) (D (x) I)``: its between
core once, and its within cores repeated. So a function of the n x n matrix is
that function of each core. Everything here is k x k, nothing has size n, and
all of it computes in double precision (`Core` converts), whatever dtype the
matrix stores.

Products, too, are taken from SciPy's BLAS and not from NumPy's. Their wheels bring a
library each, and the idle threads of the one keep a processor busy for a while, which
would slow down the other.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from scipy.linalg import blas, lapack

from blockmat._validation import Array, accumulator_dtype
from blockmat.exceptions import (
    IndefiniteMatrixError,
    NonFiniteError,
    NotHermitianError,
    ShapeError,
    SingularMatrixError,
)

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Core:
    """One summand of the direct sum.

    Parameters
    ----------
    values : ndarray, shape (c,) or (c, c)
        A diagonal core as its diagonal, or a dense one; in double precision.
    multiplicity : ndarray of int, shape (c,)
        How often each of its eigenvalues occurs in the matrix.
    blocks : ndarray of int, shape (c,)
        The block that each row belongs to.
    name : str
        What to call it in messages: "between" or "within".
    precision : float
        Relative rounding of the numbers it came from.
    """

    values: Array
    multiplicity: Array
    blocks: Array
    name: str
    precision: float

    @classmethod
    def of(cls, values: Array, multiplicity: Array, blocks: Array, name: str) -> "Core":
        """Make a core from stored numbers of any supported dtype."""
        double = values.astype(accumulator_dtype(values.dtype), copy=False)
        return cls(double, multiplicity, blocks, name, float(np.finfo(values.dtype).eps))

    @property
    def is_diagonal(self) -> bool:
        """Whether `values` is only the diagonal."""
        return self.values.ndim == 1

    @property
    def is_complex(self) -> bool:
        """Whether the numbers are complex."""
        return self.values.dtype.kind == "c"

    @property
    def adjoint(self) -> Array:
        """The conjugate transpose of the values."""
        return self.values.conj() if self.is_diagonal else self.values.conj().T

    @cached_property
    def is_hermitian(self) -> bool:
        """Whether it equals its adjoint to rounding.

        The tolerance is that of a product of two Hermitian cores that commute:
        ``8 sqrt(c) eps max|values|`` for c rows.
        """
        if self.values.size == 0 or (self.is_diagonal and not self.is_complex):
            return True
        tolerance = 8 * np.sqrt(len(self.values)) * self.precision * np.abs(self.values).max()
        if self.is_diagonal:
            return bool(np.abs(self.values - self.adjoint).max() <= tolerance)
        return is_close_to_adjoint(self.values, tolerance)

    @property
    def hermitian_part(self) -> Array:
        """Half the sum of the values and their adjoint."""
        return hermitian_part(self.values)

    def describe(self, row: int | None = None) -> str:
        """Name the core, or the block of one of its rows, for a message."""
        if row is None:
            return f"the {self.name} core"
        return f"{self.name} of block {int(self.blocks[row])}"


# A matrix and its adjoint, tile by tile: reading a large matrix along columns is slow

_TILE = 256


def _tiles(n: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield the places of the tiles on and below the diagonal, and of their mirror images."""
    for i in range(0, n, _TILE):
        for j in range(0, i + 1, _TILE):
            rows, cols = slice(i, i + _TILE), slice(j, j + _TILE)
            yield (rows, cols), (cols, rows)


def is_close_to_adjoint(a: Array, tolerance: float) -> bool:
    """Whether no entry differs by more than `tolerance` from that of the adjoint; NaN does."""
    return all(
        bool(np.abs(a[place] - a[mirrored].conj().T).max() <= tolerance)
        for place, mirrored in _tiles(len(a))
    )


def hermitian_part(a: Array) -> Array:
    """Return ``(a + a^H) / 2``, exactly Hermitian."""
    if a.ndim == 1:
        return (a + a.conj()) / 2
    result = np.empty_like(a)
    for place, mirrored in _tiles(len(a)):
        tile = (a[place] + a[mirrored].conj().T) / 2
        result[place], result[mirrored] = tile, tile.conj().T
    return result


def _from_lower(lower: Array) -> Array:
    """Fill the upper triangle of a Hermitian matrix, which holds zeros, in place."""
    for place, mirrored in _tiles(len(lower)):
        if place == mirrored:
            corner = lower[place]
            diagonal = np.diagonal(corner).copy()
            corner += corner.conj().T
            np.fill_diagonal(corner, diagonal)
        else:
            lower[mirrored] = lower[place].conj().T
    return lower


# Spectra


def require_hermitian(core: Core, operation: str) -> None:
    """Raise `NotHermitianError` unless the core is Hermitian."""
    if not core.is_hermitian:
        raise NotHermitianError(
            f"{operation} needs a Hermitian matrix, and {core.describe()} is not"
        )


def eigvalsh(core: Core) -> Array:
    """Return the eigenvalues of a Hermitian core, ascending only if it is dense."""
    if core.is_diagonal:
        return np.real(core.values)
    values: Array = scipy.linalg.eigh(core.values, eigvals_only=True, check_finite=False)
    return values


def eigh(core: Core) -> tuple[Array, Array | None]:
    """Return eigenvalues and eigenvectors of a Hermitian core (None: the unit vectors)."""
    if core.is_diagonal:
        return np.real(core.values), None
    values, vectors = _dense_eigh(core.values)
    return values, vectors


def _dense_eigh(values: Array) -> tuple[Array, Array]:
    """Decompose a Hermitian matrix, of which the lower triangle is read, by divide and conquer.

    SciPy's default driver loses digits of orthogonality between the eigenvectors of
    clustered eigenvalues, which a core has when blocks are alike.
    """
    eigenvalues, vectors = scipy.linalg.eigh(values, driver="evd", check_finite=False)
    return eigenvalues, vectors


def eigvals(core: Core) -> Array:
    """Return the eigenvalues of any core."""
    if core.is_diagonal:
        return core.values
    values: Array = scipy.linalg.eigvals(core.values, check_finite=False)
    return values


def svdvals(core: Core) -> Array:
    """Return the singular values of any core."""
    if core.is_diagonal:
        return np.abs(core.values)
    values: Array = scipy.linalg.svdvals(core.values, check_finite=False)
    return values


def slogdet(core: Core) -> tuple[Any, float]:
    """Return sign and log of the absolute determinant, multiplicities included."""
    factors, swaps = core.values, 0
    if not core.is_diagonal:
        (getrf,) = lapack.get_lapack_funcs(("getrf",), (core.values,))
        triangular, pivots, _ = getrf(core.values)
        factors = np.diagonal(triangular)
        swaps = int(np.count_nonzero(pivots != np.arange(len(pivots))))
    magnitude = np.abs(factors)
    if np.any(magnitude == 0):
        return factors.dtype.type(0), -np.inf
    signs = (factors / magnitude) ** core.multiplicity
    sign = np.prod(signs) * (-1) ** (swaps * int(core.multiplicity.max(initial=0)))
    return sign, float(np.sum(core.multiplicity * np.log(magnitude)))


def is_positive_definite(core: Core) -> bool:
    """Whether a core is Hermitian with a Cholesky factor."""
    if not core.is_hermitian:
        return False
    if core.is_diagonal:
        return bool(np.all(np.real(core.values) > 0))
    try:
        scipy.linalg.cholesky(core.hermitian_part, check_finite=False)
    except np.linalg.LinAlgError:
        return False
    return True


# Inverses


def _factorised(core: Core, operation: str) -> "_Cholesky | _LU":
    """Factorise an invertible core."""
    factors = (_Cholesky.of(core) if core.is_hermitian else None) or _LU.of(core)
    if not factors.rcond >= EPS:
        raise SingularMatrixError(
            f"{operation} needs an invertible matrix, and {core.describe()} is singular to "
            f"working precision (reciprocal condition number {factors.rcond:.1e})"
        )
    return factors


@dataclass(frozen=True)
class _Cholesky:
    """The Cholesky factor of ``scale * core * scale``, scaled to a diagonal near 1 as `_LU` is."""

    factor: Array
    scale: Array
    rcond: float

    @classmethod
    def of(cls, core: Core) -> "_Cholesky | None":
        """Factorise a Hermitian core; None if it is not positive definite."""
        diagonal = np.real(np.diagonal(core.values))
        if diagonal.min(initial=1) <= 0:
            return None
        scale = _power_of_two_reciprocal(np.sqrt(diagonal))
        scaled = core.values.T * scale
        scaled *= scale[:, None]
        potrf, pocon, lange = lapack.get_lapack_funcs(("potrf", "pocon", "lange"), (scaled,))
        norm = lange("1", scaled.T)
        factor, info = potrf(scaled.T, lower=True, overwrite_a=True)
        if info > 0:
            return None
        return cls(factor, scale, float(pocon(factor, norm, uplo="L")[0]))

    def solve(self, rhs: Array) -> Array:
        dtype = np.result_type(self.factor, rhs)
        factor = self.factor.astype(dtype, copy=False)
        (potrs,) = lapack.get_lapack_funcs(("potrs",), (factor,))
        scaled = (rhs.T * self.scale).T.astype(dtype, copy=False)
        solution, _ = potrs(factor, scaled, lower=True, overwrite_b=True)
        unscaled: Array = (solution.T * self.scale).T
        return unscaled

    def inverse(self) -> Array:
        (potri,) = lapack.get_lapack_funcs(("potri",), (self.factor,))
        inverse, _ = potri(self.factor, lower=True, overwrite_c=True)
        inverse *= self.scale
        inverse *= self.scale[:, None]
        return _from_lower(inverse)


@dataclass(frozen=True)
class _LU:
    """LU factors of ``row_scale * core * col_scale``, scaled to unit entries.

    The scales are powers of two, so they cost no accuracy, and they make the
    test for singularity independent of the units of the variables.
    """

    factors: Array
    pivots: Array
    row_scale: Array
    col_scale: Array
    rcond: float

    @classmethod
    def of(cls, core: Core) -> "_LU":
        """Factorise any core; ``rcond`` is 0 if it is exactly singular."""
        magnitude = np.abs(core.values.T)
        row_scale = _power_of_two_reciprocal(magnitude.max(axis=0, initial=0))
        magnitude *= row_scale
        col_scale = _power_of_two_reciprocal(magnitude.max(axis=1, initial=0))
        magnitude *= col_scale[:, None]
        norm = magnitude.sum(axis=1).max(initial=0)
        scaled = core.values.T * row_scale
        scaled *= col_scale[:, None]
        getrf, gecon = lapack.get_lapack_funcs(("getrf", "gecon"), (scaled,))
        factors, pivots, info = getrf(scaled.T, overwrite_a=True)
        rcond = 0.0 if info > 0 else float(gecon(factors, norm)[0])
        return cls(factors, pivots, row_scale, col_scale, rcond)

    def solve(self, rhs: Array) -> Array:
        dtype = np.result_type(self.factors, rhs)
        factors = self.factors.astype(dtype, copy=False)
        (getrs,) = lapack.get_lapack_funcs(("getrs",), (factors,))
        scaled = (rhs.T * self.row_scale).T.astype(dtype, copy=False)
        solution, _ = getrs(factors, self.pivots, scaled, overwrite_b=True)
        unscaled: Array = (solution.T * self.col_scale).T
        return unscaled

    def inverse(self) -> Array:
        getri, getri_lwork = lapack.get_lapack_funcs(("getri", "getri_lwork"), (self.factors,))
        size = int(np.real(getri_lwork(len(self.factors))[0]))
        inverse: Array
        inverse, _ = getri(self.factors, self.pivots, lwork=size, overwrite_lu=True)
        inverse *= self.row_scale
        inverse *= self.col_scale[:, None]
        return inverse


def _power_of_two_reciprocal(x: Array) -> Array:
    """Return a power of two near 1/x, and 1 where x is 0."""
    _, exponent = np.frexp(x)
    return np.ldexp(1.0, np.where(x > 0, np.clip(-exponent, -1000, 1000), 0))


def _require_nonzero(core: Core, operation: str) -> None:
    zero = np.flatnonzero(core.values == 0)
    if len(zero):
        raise SingularMatrixError(
            f"{operation} needs an invertible matrix, and {core.describe(zero[0])} is zero"
        )


def inv(core: Core, operation: str = "inv") -> Array:
    """Return the inverse of a core, from scaled Cholesky or LU factors.

    Raises
    ------
    SingularMatrixError
        If the core is singular to working precision.
    """
    if core.is_diagonal:
        _require_nonzero(core, operation)
        return 1 / core.values
    factors = _factorised(core, operation)
    inverse = factors.inverse()
    exactly = isinstance(factors, _Cholesky) or not core.is_hermitian
    return inverse if exactly else hermitian_part(inverse)


def solve(core: Core, rhs: Array) -> Array:
    """Solve with a core for (c,) or (c, m) right-hand sides.

    Raises
    ------
    SingularMatrixError
        If the core is singular to working precision.
    """
    if core.is_diagonal:
        return (rhs.T * inv(core, "solve")).T
    return _factorised(core, "solve").solve(rhs)


def pinv(core: Core, cutoff: float) -> Array:
    """Return the pseudo-inverse, with singular values up to `cutoff` taken as zero."""
    if core.is_diagonal:
        keep = np.abs(core.values) > cutoff
        return np.divide(1, core.values, out=np.zeros_like(core.values), where=keep)
    if core.is_hermitian:
        w, v = _dense_eigh(core.values)
        keep = np.abs(w) > cutoff
        return _reassemble(v[:, keep], 1 / w[keep])
    u, s, vh = scipy.linalg.svd(core.values, full_matrices=False, check_finite=False)
    keep = s > cutoff
    inverse: Array = (vh[keep].conj().T / s[keep]) @ u[:, keep].conj().T
    return inverse


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
        return w**p if core.is_diagonal else _reassemble(v, w**p)
    if p < 0:
        inverse = Core(
            inv(core, operation), core.multiplicity, core.blocks, core.name, core.precision
        )
        return power(inverse, -p, operation)
    if p == 0.5:
        with warnings.catch_warnings():  # a failure is raised by _principal below
            warnings.simplefilter("ignore")
            result = scipy.linalg.sqrtm(core.values)
    else:
        result = scipy.linalg.fractional_matrix_power(core.values, p)
    return _principal(core, result, operation)


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
            _require_nonzero(core, operation)
        return w
    if w.size == 0:
        return w
    noise = _noise(core, w)
    if p < 0:
        _refuse_singular(core, w, noise, operation)
    row = int(np.argmin(w))
    if w[row] < -noise:
        if core.is_complex:
            return np.where(np.abs(w) <= noise, 0, w).astype(complex)
        raise IndefiniteMatrixError(
            f"{operation} of a real matrix needs eigenvalues that are not negative, and "
            f"{core.describe(row if core.is_diagonal else None)} has {w[row]:.3g}; "
            f"use A.astype(complex) for the complex result"
        )
    return np.maximum(w, 0)


def _noise(core: Core, w: Array) -> float:
    """Bound the rounding error in the eigenvalues of a core: none if it is diagonal."""
    return 0.0 if core.is_diagonal else len(w) * core.precision * float(np.abs(w).max())


def _refuse_singular(core: Core, w: Array, noise: float, operation: str) -> None:
    """Raise if an eigenvalue is zero to rounding.

    Small eigenvalues of a badly scaled core can be genuine: one that LU with
    scaling finds invertible passes, if its eigenvalues did not round to zero.
    """
    if core.is_diagonal:
        _require_nonzero(core, operation)
    elif np.abs(w).min() <= noise:
        _factorised(core, operation)
        if np.abs(w).min() == 0 or (w[0] < 0 and -w[0] <= noise):
            raise SingularMatrixError(
                f"{operation} needs an invertible matrix, and {core.describe()} has eigenvalues "
                f"that are zero beside the largest, {np.abs(w).max():.3g}, to working precision"
            )


def exp(core: Core) -> Array:
    """Return the exponential of a core."""
    if core.is_diagonal:
        return np.exp(core.values)
    if core.is_hermitian:
        w, v = _dense_eigh(core.values)
        return _reassemble(v, np.exp(w))
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
        return np.log(w) if core.is_diagonal else _reassemble(v, np.log(w))
    _factorised(core, "logm")
    return _principal(core, scipy.linalg.logm(core.values), "logm")


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
        w, v = _dense_eigh(core.values)
        return _reassemble(v, checked(w))
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
    w, v = _dense_eigh(core.hermitian_part)
    return _reassemble(v, np.maximum(w, minimum))


def add_product(a: Array, b: Array, out: Array) -> None:
    """Add ``a @ b`` to `out` (c, m) in place; `b` and `out` are C-contiguous, of one dtype."""
    (gemm,) = blas.get_blas_funcs(("gemm",), (out,))
    gemm(1, b.T, a.T, beta=1, c=out.T, overwrite_c=True)


def _reassemble(vectors: Any, values: Array) -> Array:
    """Return ``V diag(values) V^H``, exactly Hermitian when the values are real."""
    if np.iscomplexobj(values) or np.any(values < 0):
        (gemm,) = blas.get_blas_funcs(("gemm",), (vectors, values))
        result: Array = gemm(1, vectors * values, vectors, trans_b=2)
        return result if np.iscomplexobj(values) else hermitian_part(result)
    half = vectors * np.sqrt(values)  # half the work, for one triangle
    name = "herk" if np.iscomplexobj(vectors) else "syrk"
    (herk,) = blas.get_blas_funcs((name,), (half,))
    lower: Array = herk(1, half, lower=True)
    return _from_lower(lower)


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
