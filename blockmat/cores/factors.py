"""Cholesky and LU factors of cores: inverse, solution and determinant (:ref:`theory-functions`)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import lapack

from blockmat.blocks.checks import Array
from blockmat.cores.core import EPS, Core, from_lower, hermitian_part, with_values
from blockmat.cores.rank import count_nonzero, power_of_two_reciprocal
from blockmat.exceptions import (
    SingularMatrixError,
)


def slogdet(core: Core) -> tuple[Any, float]:
    """Return the sign and the logarithm of the absolute determinant, with all multiplicities.

    They are 0 and minus infinity for a core that is singular to working precision.
    """
    if core.is_diagonal:
        return _slogdet_of_diagonal(core.values, core.multiplicity)
    factors = cholesky_or_lu(core)
    if is_singular(core, factors):
        return core.values.dtype.type(0), -np.inf
    multiplicity = int(core.multiplicity.max(initial=0))
    sign, logdet = factors.slogdet()
    return sign**multiplicity, multiplicity * logdet


def _slogdet_of_diagonal(diagonal: Array, multiplicity: Array) -> tuple[Any, float]:
    magnitude = np.abs(diagonal)
    if np.any(magnitude == 0):
        return diagonal.dtype.type(0), -np.inf
    sign = np.prod((diagonal / magnitude) ** multiplicity)
    return sign, float(np.sum(multiplicity * np.log(magnitude)))


def reciprocals(core: Core, operation: str) -> Array:
    """Invert a diagonal core, or raise `SingularMatrixError` if it contains a zero."""
    require_nonzero(core, operation)
    inverse: Array = 1 / core.values
    return inverse


def factorize(core: Core, operation: str) -> "Cholesky | LU":
    """Factorize a dense core, or raise `SingularMatrixError` if it is singular to rounding."""
    factors = cholesky_or_lu(core)
    if is_singular(core, factors):
        raise SingularMatrixError(
            f"{operation} needs an invertible matrix, and {core.describe()} is singular to "
            f"working precision (reciprocal condition number {factors.rcond:.1e}){_hint_of_rank(core)}"
        )
    return factors


def _hint_of_rank(core: Core) -> str:
    """Return what a message says about the rank of a singular between core that is symmetric."""
    c = len(core.values)
    if core.name != "between" or not core.is_hermitian:
        return ""
    rank = count_nonzero(with_values(core, core.values))
    if rank == c:  # the condition number alone shows that it is singular
        return ""
    return (
        f": it is {c} x {c}, for {c} blocks, and its rank is {rank}. The covariance of samples needs "
        f"more samples than blocks"
    )


def cholesky_or_lu(core: Core) -> "Cholesky | LU":
    """Factorize a dense core, by Cholesky's method if it is positive definite."""
    return (Cholesky.of(core) if core.is_hermitian else None) or LU.of(core)


def is_singular(core: Core, factors: "Cholesky | LU") -> bool:
    """Tell whether a dense core is singular to rounding (:ref:`theory-rank`, rule 2).

    A reciprocal condition number of the scaled core far from rounding decides. Otherwise
    `count_nonzero` does.
    """
    c = len(core.values)
    noise = core.rounding * max(1.0, EPS / core.precision * c)
    if factors.rcond > 8 * np.sqrt(c) * noise:
        return False
    return factors.rcond < EPS or count_nonzero(with_values(core, core.values)) < c


class Cholesky(NamedTuple):
    """The Cholesky factor of ``scale * core * scale``, whose diagonal is near 1.

    The scales are powers of two, as in `LU`.
    """

    factor: Array
    scale: Array
    rcond: float

    @classmethod
    def of(cls, core: Core) -> "Cholesky | None":
        """Factorize a Hermitian core; None if it is not positive definite."""
        diagonal = np.real(np.diagonal(core.values))
        if diagonal.min(initial=1) <= 0:
            return None
        scale = power_of_two_reciprocal(np.sqrt(diagonal))
        scaled = core.values.T * scale
        scaled *= scale[:, None]
        potrf, pocon, lange = lapack.get_lapack_funcs(("potrf", "pocon", "lange"), (scaled,))
        norm = lange("1", scaled.T)
        factor, info = potrf(scaled.T, lower=True, overwrite_a=True)
        if info > 0:
            return None
        return cls(factor, scale, float(pocon(factor, norm, uplo="L")[0]))

    def solve(self, rhs: Array) -> Array:
        """Solve for right-hand sides (c,) or (c, m)."""
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
        """Return the inverse of the core."""
        (potri,) = lapack.get_lapack_funcs(("potri",), (self.factor,))
        inverse, _ = potri(self.factor, lower=True)
        inverse *= self.scale
        inverse *= self.scale[:, None]
        return from_lower(inverse)


class LU(NamedTuple):
    """LU factors of ``row_scale * core * col_scale``, whose largest entries are near 1.

    The scales are powers of two, so scaling does not round. They make the test for
    singularity independent of the units of the variables.
    """

    factors: Array
    pivots: Array
    row_scale: Array
    col_scale: Array
    rcond: float

    @classmethod
    def of(cls, core: Core) -> "LU":
        """Factorize any core; ``rcond`` is 0 if it is exactly singular."""
        magnitude = np.abs(core.values.T)
        row_scale = power_of_two_reciprocal(magnitude.max(axis=0, initial=0))
        magnitude *= row_scale
        col_scale = power_of_two_reciprocal(magnitude.max(axis=1, initial=0))
        magnitude *= col_scale[:, None]
        norm = magnitude.sum(axis=1).max(initial=0)
        scaled = core.values.T * row_scale
        scaled *= col_scale[:, None]
        getrf, gecon = lapack.get_lapack_funcs(("getrf", "gecon"), (scaled,))
        factors, pivots, info = getrf(scaled.T, overwrite_a=True)
        rcond = 0.0 if info > 0 else float(gecon(factors, norm)[0])
        return cls(factors, pivots, row_scale, col_scale, rcond)

    def solve(self, rhs: Array) -> Array:
        """Solve for right-hand sides (c,) or (c, m)."""
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
        sign, logdet = _slogdet_of_diagonal(np.diagonal(self.factors), once)
        swaps = int(np.count_nonzero(self.pivots != np.arange(len(self.pivots))))
        scales = float(np.log(self.row_scale).sum() + np.log(self.col_scale).sum())
        return sign * (-1) ** swaps, logdet - scales

    def inverse(self) -> Array:
        """Return the inverse of the core."""
        getri, getri_lwork = lapack.get_lapack_funcs(("getri", "getri_lwork"), (self.factors,))
        size = int(np.real(getri_lwork(len(self.factors))[0]))
        inverse: Array
        inverse, _ = getri(self.factors, self.pivots, lwork=size)
        inverse *= self.row_scale
        inverse *= self.col_scale[:, None]
        return inverse


def solver_of(core: Core, operation: str) -> Callable[[Array], Array]:
    """Return what solves for right-hand sides (c,) or (c, m).

    Raises `SingularMatrixError` for a singular core.
    """
    if core.is_diagonal:
        require_nonzero(core, operation)
        return lambda rhs: (rhs.T / core.values).T
    return factorize(core, operation).solve


def require_nonzero(core: Core, operation: str, size: Array | None = None) -> None:
    """Raise `SingularMatrixError` if a diagonal core contains a zero.

    `size` (c,) is zero where a number counts as zero, by default that of the numbers.
    """
    zero = np.flatnonzero((core.values if size is None else size) == 0)
    if len(zero):
        raise SingularMatrixError(
            f"{operation} needs an invertible matrix, and {core.describe(zero[0])} is zero, so the "
            f"matrix is singular"
        )


def inv(core: Core, operation: str = "inv") -> Array:
    """Return the inverse, or raise `SingularMatrixError` for a singular core."""
    if core.is_diagonal:
        return reciprocals(core, operation)
    return inverse_of(core, factorize(core, operation))


def inverse_of(core: Core, factors: Cholesky | LU) -> Array:
    """Return the inverse of a core from its factors."""
    inverse = factors.inverse()
    if core.is_hermitian and isinstance(factors, LU):  # whose inverse is Hermitian to rounding
        return hermitian_part(inverse)
    return inverse
