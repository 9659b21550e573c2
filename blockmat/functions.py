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
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from scipy.linalg import blas, lapack

from blockmat._scale import largest_of, times_power
from blockmat._validation import Array, accumulator_dtype
from blockmat.exceptions import (
    IndefiniteMatrixError,
    NonFiniteError,
    NotHermitianError,
    ShapeError,
    SingularMatrixError,
)

EPS = float(np.finfo(np.float64).eps)
_SWEEPS = 64  # a sweep of `balance` halves the exponents of what is off
_GRADED = 1e4 * EPS  # smallest by largest eigenvalue below which LAPACK's has few digits
_ROUNDING = 8  # rounding of a core of c rows, in units of sqrt(c) eps of the scales of its rows


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
    others : ndarray, shape (c,)
        What else stands in the rows of the matrix that each row belongs to, as magnitudes.
    """

    values: Array
    multiplicity: Array
    blocks: Array
    name: str
    precision: float
    others: Array

    @classmethod
    def of(
        cls, values: Array, multiplicity: Array, blocks: Array, name: str, others: Array
    ) -> "Core":
        """Make a core from stored numbers of any supported dtype."""
        double = values.astype(accumulator_dtype(values.dtype), copy=False)
        precision = float(np.finfo(values.dtype).eps)
        return cls(double, multiplicity, blocks, name, precision, np.abs(others))

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

    @property
    def rounding(self) -> float:
        """Bound the error of an entry, relative to the scales of its row and its column.

        It is ``8 sqrt(c) eps`` for c rows: the rounding of a product of two cores.
        """
        return float(_ROUNDING * np.sqrt(len(self.values)) * self.precision)

    @cached_property
    def is_hermitian(self) -> bool:
        """Whether it equals its adjoint to rounding; see `is_close_to_adjoint`."""
        if self.is_diagonal:
            difference = np.abs(self.values - self.adjoint)
            return bool((difference <= self.rounding * np.abs(self.values)).all())
        return is_close_to_adjoint(self.values, self.rounding)

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


def is_close_to_adjoint(a: Array, relative: float, least: Array | float = 0.0) -> bool:
    """Whether a matrix equals its adjoint, with a tolerance for each pair of entries.

    The scale of a row is the largest magnitude in it, in the column of the same number, and in
    `least`. Entries (i, j) and (j, i) may differ by `relative` times the smaller of the scales
    of i and j. A matrix with NaN or infinity is not equal to its adjoint.
    """
    scale = np.maximum(_largest_in_rows(a), least)
    with np.errstate(invalid="ignore", over="ignore"):
        return all(
            bool(
                (
                    np.abs(a[rows, cols] - a[cols, rows].conj().T)
                    <= relative * np.minimum(scale[rows, None], scale[cols])
                ).all()
            )
            for (rows, cols), _ in _tiles(len(a))
        )


def _largest_in_rows(a: Array) -> Array:
    """Return the largest magnitude in each row and in the column of the same number."""
    largest = np.zeros(len(a))
    for i in range(0, len(a), _TILE):
        size = np.abs(a[i : i + _TILE])
        largest[i : i + _TILE] = np.maximum(largest[i : i + _TILE], size.max(axis=1))
        np.maximum(largest, size.max(axis=0), out=largest)
    return largest


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
    if values.size and values[0] < _GRADED * values[-1]:
        return _dense_eigh_of(core)[0]
    return values


def eigh(core: Core) -> tuple[Array, Array | None]:
    """Return eigenvalues and eigenvectors of a Hermitian core (None: the unit vectors)."""
    return (np.real(core.values), None) if core.is_diagonal else _dense_eigh_of(core)


def _dense_eigh_of(core: Core) -> tuple[Array, Array]:
    values, vectors = _dense_eigh(core.values)
    if values.size and values[0] < _GRADED * values[-1]:
        return _graded_eigh(core) or (values, vectors)
    return values, vectors


def _dense_eigh(values: Array) -> tuple[Array, Array]:
    """Decompose a Hermitian matrix, of which the lower triangle is read, by divide and conquer.

    SciPy's default driver loses digits of orthogonality between the eigenvectors of
    clustered eigenvalues, which a core has when blocks are alike.
    """
    eigenvalues, vectors = scipy.linalg.eigh(values, driver="evd", check_finite=False)
    return eigenvalues, vectors


def _graded_eigh(core: Core) -> tuple[Array, Array] | None:
    """Decompose a real positive definite core whose small eigenvalues come from its scaling.

    The singular values of its Cholesky factor are the roots of its eigenvalues. Jacobi's
    method computes them, however small, to the precision that they have in a balanced core
    (J. Demmel, K. Veselic, "Jacobi's method is more accurate than QR", SIAM J. Matrix Anal.
    Appl. 13, 1992). None for other cores.
    """
    if core.is_complex or not is_positive_definite(core):
        return None
    factors = _Cholesky.of(core)
    if factors is None:
        return None
    upper = np.tril(factors.factor).T / factors.scale
    roots, _, vectors, work, _, info = lapack.dgejsv(upper, joba=0, jobu=3, jobv=0, jobr=0)
    if info:
        return None
    values = (roots * (work[0] / work[1])) ** 2
    return values[::-1], vectors[:, ::-1]


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
    if core.is_hermitian:
        return np.abs(eigvalsh(core))
    values: Array = scipy.linalg.svdvals(core.values, check_finite=False)
    return values


def slogdet(core: Core) -> tuple[Any, float]:
    """Return sign and log of the absolute determinant, multiplicities included.

    They are 0 and minus infinity for a core that is singular to working precision.
    """
    if core.is_diagonal:
        return _slogdet_of_factors(core.values, core.multiplicity)
    factors = _factors(core)
    if is_singular(core, factors):
        return core.values.dtype.type(0), -np.inf
    multiplicity = int(core.multiplicity.max(initial=0))
    sign, logdet = factors.slogdet()
    return sign**multiplicity, multiplicity * logdet


def _slogdet_of_factors(factors: Array, multiplicity: Array) -> tuple[Any, float]:
    magnitude = np.abs(factors)
    if np.any(magnitude == 0):
        return factors.dtype.type(0), -np.inf
    sign = np.prod((factors / magnitude) ** multiplicity)
    return sign, float(np.sum(multiplicity * np.log(magnitude)))


# Rank and definiteness: one rule, that each row is judged by its own scale


def balance(values: Array) -> tuple[Array, Array]:
    """Return factors of rows and columns that bring the largest number in each near 1.

    They are powers of two, so scaling does not round. A Hermitian matrix gets the same factors
    for both, and a positive semi-definite one a diagonal near 1.
    """
    size = np.abs(values)
    row, col = np.ones(size.shape[0]), np.ones(size.shape[1])
    if size.shape[0] == size.shape[1]:
        row = col = _power_of_two_reciprocal(np.sqrt(np.diagonal(size)))
    for _ in range(_SWEEPS):
        scaled = (size * row[:, None]) * col
        rows, cols = scaled.max(axis=1, initial=0), scaled.max(axis=0, initial=0)
        if all(((x == 0) | ((x >= 0.25) & (x <= 4))).all() for x in (rows, cols)):
            break
        row = row * _power_of_two_reciprocal(np.sqrt(rows))
        col = col * _power_of_two_reciprocal(np.sqrt(cols))
    return row, col


def _balanced(core: Core, others: Array) -> Array:
    """Scale a dense core by `balance`, with `others` (c,) as if they were on its diagonal."""
    values = core.hermitian_part if core.is_hermitian else core.values
    size = np.abs(values)
    np.fill_diagonal(size, np.maximum(np.diagonal(size), others))
    row, col = balance(size)
    scaled: Array = (values * row[:, None]) * col
    return scaled


def signs(core: Core, known: Array | None = None) -> Array:
    """Return the sign of each eigenvalue of a Hermitian core, 0 for one that is zero to rounding.

    A dense core is balanced first, which leaves the number of each sign as it is; then the
    signs are in ascending order. Eigenvalues up to the rounding of the core are zero. So are
    those that are zero beside what else stands in the rows: positive ones to double precision,
    in which sums over a block are taken, negative ones to the precision of the stored numbers.
    The numbers of a diagonal core are no sums: a positive one is never zero. `known` are its
    eigenvalues, ascending, which decide where none is small.
    """
    if core.is_diagonal:
        values = np.real(core.values)
        return np.where(values < -core.rounding * core.others, -1, np.where(values > 0, 1, 0))
    if known is not None and _are_clear(core, known):
        return np.sign(known).astype(int)
    w, noise = _balanced_spectrum(core, core.others * (EPS / core.precision))
    result = np.where(w < -noise, -1, np.where(w > noise, 1, 0))
    if core.precision > EPS and result.min(initial=0) < 0:
        w, noise = _balanced_spectrum(core, core.others)
        result[np.count_nonzero(w < -noise) : np.count_nonzero(result < 0)] = 0
    return result


def _are_clear(core: Core, w: Array) -> bool:
    """Whether no eigenvalue is near zero, even beside the largest number of all rows."""
    largest = max(np.abs(w).max(initial=0), core.others.max(initial=0))
    noise = core.rounding * max(1.0, EPS / core.precision * len(w))
    return bool(np.abs(w).min(initial=np.inf) > noise * largest)


def _balanced_spectrum(core: Core, others: Array) -> tuple[Array, float]:
    """Return eigenvalues, or singular values unless Hermitian, of a balanced core, and their noise.

    The noise is the rounding of the stored numbers, or LAPACK's where that is larger.
    """
    spectrum = scipy.linalg.eigvalsh if core.is_hermitian else scipy.linalg.svdvals
    values = spectrum(_balanced(core, others), check_finite=False)
    largest = float(np.abs(values).max(initial=0))
    return values, core.rounding * max(1.0, EPS / core.precision * largest)


def count_nonzero(core: Core) -> int:
    """Count the eigenvalues of a core that are not zero to rounding, without multiplicities."""
    if core.is_diagonal:
        return int(np.count_nonzero(_is_nonzero(core)))
    if core.is_hermitian:
        return int(np.count_nonzero(signs(core)))
    values, noise = _balanced_spectrum(core, core.others * (EPS / core.precision))
    return int(np.count_nonzero(values > noise))


def rank(core: Core) -> int:
    """Return the share of a core in the rank of the matrix, multiplicities included."""
    if core.is_diagonal:
        return int(core.multiplicity[_is_nonzero(core)].sum())
    return count_nonzero(core) * int(core.multiplicity.max(initial=0))


def _is_nonzero(core: Core) -> Array:
    """Whether each number of a diagonal core is not zero to rounding."""
    nonzero: Array = (signs(core) if core.is_hermitian else core.values) != 0
    return nonzero


def is_positive_definite(core: Core) -> bool:
    """Whether a core is Hermitian with all eigenvalues positive, beyond rounding."""
    return core.is_hermitian and bool((signs(core) > 0).all())


# Inverses


def _factors(core: Core) -> "_Cholesky | _LU":
    """Factorise a dense core."""
    return (_Cholesky.of(core) if core.is_hermitian else None) or _LU.of(core)


def factorised(core: Core, operation: str) -> Any:
    """Factorise an invertible core; a diagonal one is inverted.

    Raises
    ------
    SingularMatrixError
        If the core is singular to working precision.
    """
    if core.is_diagonal:
        _require_nonzero(core, operation)
        return 1 / core.values
    factors = _factors(core)
    if is_singular(core, factors):
        raise SingularMatrixError(
            f"{operation} needs an invertible matrix, and {core.describe()} is singular to "
            f"working precision (reciprocal condition number {factors.rcond:.1e})"
        )
    return factors


def is_singular(core: Core, factors: "_Cholesky | _LU") -> bool:
    """Whether a dense core is singular to rounding, judged by its own rows alone.

    The reciprocal condition number of the scaled core decides where it is far from rounding,
    and `count_nonzero` where it is not.
    """
    c = len(core.values)
    noise = core.rounding * max(1.0, EPS / core.precision * c)
    if factors.rcond > 8 * np.sqrt(c) * noise:
        return False
    return factors.rcond < EPS or count_nonzero(_with_values(core, core.values)) < c


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

    def slogdet(self) -> tuple[Any, float]:
        """Return the sign and the logarithm of the determinant of the core."""
        roots = np.real(np.diagonal(self.factor))
        return self.factor.dtype.type(1), 2 * float(np.log(roots).sum() - np.log(self.scale).sum())

    def inverse(self) -> Array:
        (potri,) = lapack.get_lapack_funcs(("potri",), (self.factor,))
        inverse, _ = potri(self.factor, lower=True)
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

    def slogdet(self) -> tuple[Any, float]:
        """Return the sign and the logarithm of the absolute determinant of the core."""
        once = np.ones(len(self.factors), dtype=int)
        sign, logdet = _slogdet_of_factors(np.diagonal(self.factors), once)
        swaps = int(np.count_nonzero(self.pivots != np.arange(len(self.pivots))))
        scales = float(np.log(self.row_scale).sum() + np.log(self.col_scale).sum())
        return sign * (-1) ** swaps, logdet - scales

    def inverse(self) -> Array:
        getri, getri_lwork = lapack.get_lapack_funcs(("getri", "getri_lwork"), (self.factors,))
        size = int(np.real(getri_lwork(len(self.factors))[0]))
        inverse: Array
        inverse, _ = getri(self.factors, self.pivots, lwork=size)
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
    factors = factorised(core, operation)
    if core.is_diagonal:
        reciprocals: Array = factors
        return reciprocals
    inverse: Array = factors.inverse()
    exactly = isinstance(factors, _Cholesky) or not core.is_hermitian
    return inverse if exactly else hermitian_part(inverse)


def pinv_of_rectangular(values: Array, precision: float, rtol: float | None) -> Array:
    """Return the pseudo-inverse of a matrix (k, l), by default with the rule of `count_nonzero`."""
    u, s, vh = scipy.linalg.svd(values, full_matrices=False, check_finite=False)
    if rtol is None:
        row, col = balance(values)
        balanced = scipy.linalg.svdvals((values * row[:, None]) * col, check_finite=False)
        rounding = _ROUNDING * np.sqrt(max(values.shape)) * max(precision, EPS * balanced[0])
        r = int(np.count_nonzero(balanced > rounding))
    else:
        r = int(np.count_nonzero(s > rtol * s[0]))
    inverse: Array = (vh[:r].conj().T / s[:r]) @ u[:, :r].conj().T
    return inverse


def pinv(core: Core, cutoff: float | None) -> Array:
    """Return the pseudo-inverse, with singular values up to `cutoff` taken as zero.

    Without a cutoff, those are kept that `count_nonzero` counts.
    """
    if core.is_diagonal:
        size = np.abs(core.values)
        keep = size > cutoff if cutoff is not None else _is_nonzero(core)
        return np.divide(1, core.values, out=np.zeros_like(core.values), where=keep)
    kept = None if cutoff is not None else count_nonzero(core)
    if kept == len(core.values) and not is_singular(core, factors := _factors(core)):
        return factors.inverse()
    if core.is_hermitian:
        w, v = _dense_eigh(core.values)
        order = np.argsort(-np.abs(w))[: _count(np.abs(w), cutoff, kept)]
        return _reassemble(v[:, order], 1 / w[order])
    u, s, vh = scipy.linalg.svd(core.values, full_matrices=False, check_finite=False)
    r = _count(s, cutoff, kept)
    inverse: Array = (vh[:r].conj().T / s[:r]) @ u[:, :r].conj().T
    return inverse


def _count(values: Array, cutoff: float | None, kept: int | None) -> int:
    return int(np.count_nonzero(values > cutoff)) if kept is None else kept


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
        return power(_with_values(core, inv(core, operation)), -p, operation)
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
    inner = _with_values(core, L @ R)
    if p < 1 and count_nonzero(inner) < r:
        raise SingularMatrixError(
            f"{operation} does not exist: {core.describe()} is singular, and its eigenvalue 0 has "
            f"fewer eigenvectors than its multiplicity"
        )
    result: Array = R @ power(inner, p - 1, operation) @ L
    return result


def _with_values(core: Core, values: Array) -> Core:
    """Return a dense core of other numbers, which stands alone in its rows."""
    return replace(core, values=values, others=np.zeros(len(values)))


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
        _require_nonzero(core, operation)
        return
    if not sign.all():
        factorised(core, operation)
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
    w, v = _dense_eigh_of(core)
    kept = w.size - count_nonzero(core)
    w = np.maximum(w[kept:], np.finfo(np.float64).tiny)
    multiplicity = int(core.multiplicity.max(initial=0))
    return _reassemble(v[:, kept:], w**p), multiplicity * float(np.log(w).sum()), rank(core)


def exp(core: Core) -> Array:
    """Return the exponential of a core."""
    if core.is_diagonal:
        return np.exp(core.values)
    if core.is_hermitian:
        w, v = _dense_eigh_of(core)
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
    factorised(core, "logm")
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
        w, v = _dense_eigh_of(core)
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
