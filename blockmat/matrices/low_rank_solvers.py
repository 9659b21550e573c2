"""Solving with ``B + V C V^T``, where B has another structure and C is small.

There are three solvers, with the same five methods. `solver_for` chooses one (:ref:`theory-scaled`).
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

import numpy as np
from scipy.linalg import qr

from blockmat.blocks.checks import Array
from blockmat.cores import factors
from blockmat.cores.core import EPS, Core, dense_core, hermitian_part
from blockmat.exceptions import IndefiniteMatrixError, SingularMatrixError
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.raised_base import Base, LowRankSum, with_raised_base
from blockmat.matrices.whitening import colorized, whitened, whitened_adjoint


class LowRankSolver(ABC):
    """The methods of all three solvers. Arrays are in double precision."""

    @abstractmethod
    def solve(self, b: Array) -> Array:
        """Solve for right-hand sides (n,) or (n, m)."""

    @abstractmethod
    def inverse(self) -> tuple[Base, Array, Array]:
        """Return base, factor and core of the inverse."""

    @abstractmethod
    def slogdet(self) -> tuple[Any, Any]:
        """Return the sign and the logarithm of the absolute determinant."""

    def is_positive_definite(self) -> bool:
        """Tell whether the matrix is positive definite; only for a base that is."""
        self._refuse_covariance()

    def whitened(self, x: Array) -> Array:
        """Whiten columns (n, m)."""
        self._refuse_covariance()

    def whitened_adjoint(self, x: Array) -> Array:
        """Multiply columns (n, m) by the transpose of what whitens."""
        self._refuse_covariance()

    def colorized(self, x: Array) -> Array:
        """Colour columns (n, m)."""
        self._refuse_covariance()

    def _refuse_covariance(self) -> NoReturn:
        raise IndefiniteMatrixError(
            "the base is not positive definite; expected a covariance matrix of full rank"
        )


def solver_for(base: Base, factor: Array, core: Array, precision: float) -> LowRankSolver:
    """Choose the solver.

    Parameters
    ----------
    base : BlockConstantMatrix, ScaledBlockMatrix or BlockFactorMatrix, shape (n, n)
        B, symmetric.
    factor : ndarray, shape (n, r)
        V, in double precision.
    core : ndarray, shape (r, r)
        C, symmetric, in double precision.
    precision : float
        The relative rounding of the stored numbers.

    Returns
    -------
    LowRankSolver
        A `WhitenedSolver` if B is positive definite, perhaps after `with_raised_base`. Otherwise
        an `EigenSolver` if r is at least n, and a `WoodburySolver` if it is less.
    """
    base, factor, core = with_raised_base(LowRankSum(base, factor, core))
    if base.is_positive_definite():
        return WhitenedSolver(base, factor, core, precision)
    if factor.shape[1] >= base.shape[0]:
        return EigenSolver(base, factor, core)
    return WoodburySolver(base, factor, core)


class Directions(NamedTuple):
    """A symmetric matrix that multiplies r orthonormal directions by numbers of their own.

    Parameters
    ----------
    vectors : ndarray, shape (n, r)
        The directions.
    values : ndarray, shape (r,)
        Their eigenvalues. Every vector orthogonal to them has the eigenvalue 1.
    """

    vectors: Array
    values: Array

    def power(self, x: Array, p: float) -> Array:
        """Multiply columns (n, m) by the p-th power of the matrix.

        The directions are taken out of x twice, because the rounding that is left of them after
        the first time may be large beside the result.
        """
        inside = self.vectors.T @ x
        rest = x - self.vectors @ inside
        again = self.vectors.T @ rest
        rest -= self.vectors @ again
        powered: Array = rest + self.vectors @ ((self.values**p * (inside + again).T).T)
        return powered

    def invertible(self) -> "Directions":
        """Return itself, or raise if the matrix is singular to working precision."""
        size = np.abs(self.values)
        largest = float(size.max()) if len(size) == len(self.vectors) else 1.0
        if size.min() <= EPS * len(size) * largest:
            raise SingularMatrixError(
                f"the matrix is singular to working precision: its low-rank part takes away what "
                f"the base has (to {self.values[np.abs(self.values).argmin()]:.1e} of it)"
            )
        return self

    def slogdet(self) -> tuple[float, float]:
        """Return the sign and the logarithm of the absolute determinant."""
        if not self.values.all():
            return 0.0, -np.inf
        return float(np.prod(np.sign(self.values))), float(np.log(np.abs(self.values)).sum())


class WhitenedSolver(LowRankSolver):
    """For a positive definite base B, whitened by W.

    With ``W V = Q R`` the whitened matrix is ``I + Q (R C R^T) Q^T`` (:ref:`theory-scaled`).
    """

    def __init__(self, base: Base, factor: Array, core: Array, precision: float) -> None:
        basis, triangle = qr(whitened(base, factor), mode="economic")
        values, vectors = np.linalg.eigh(hermitian_part(triangle @ core @ triangle.T))
        self._base = base
        self._directions = Directions(basis @ vectors, 1 + values)
        self._rounding = len(values) * precision

    def solve(self, b: Array) -> Array:
        """Solve for right-hand sides (n,) or (n, m)."""
        columns = self._directions.invertible().power(whitened(self._base, b), -1)
        return whitened_adjoint(self._base, columns)

    def inverse(self) -> tuple[Base, Array, Array]:
        """Return base, factor and core of the inverse.

        If there are n directions, any multiple of the inverse base may be the new base. The inverse
        base may be large beside the result, so the new base is no larger than the result.
        """
        directions = self._directions.invertible()
        values, n = directions.values, self._base.shape[0]
        share = float(1 / np.abs(values).max()) if len(values) == n else 1.0
        base: Any = self._base.inv() * share
        factor = whitened_adjoint(self._base, directions.vectors)
        return base, factor, np.diag(1 / values - share)

    def slogdet(self) -> tuple[Any, Any]:
        """Return the sign and the logarithm of the absolute determinant."""
        sign, logdet = self._base.slogdet()
        own_sign, own_logdet = self._directions.slogdet()
        return sign * own_sign, logdet + own_logdet

    def is_positive_definite(self) -> bool:
        """Tell whether the matrix is positive definite."""
        return bool(self._directions.values.min() > self._rounding)

    def whitened(self, x: Array) -> Array:
        """Whiten columns (n, m)."""
        return self._definite.power(whitened(self._base, x), -0.5)

    def whitened_adjoint(self, x: Array) -> Array:
        """Multiply columns (n, m) by the transpose of what whitens."""
        return whitened_adjoint(self._base, self._definite.power(x, -0.5))

    def colorized(self, x: Array) -> Array:
        """Colour columns (n, m)."""
        return colorized(self._base, self._definite.power(x, 0.5))

    @property
    def _definite(self) -> Directions:
        """The directions, if the sum is positive definite."""
        if not self.is_positive_definite():
            raise IndefiniteMatrixError(
                "the matrix is not positive definite; its low-rank part takes away more than "
                "the base has"
            )
        return self._directions


class EigenSolver(LowRankSolver):
    """For a base that is not definite, and a factor with at least as many columns as rows.

    It uses the eigenvectors of the dense matrix.
    """

    def __init__(self, base: Base, factor: Array, core: Array) -> None:
        dense = base.astype(np.float64).toarray()
        dense += (factor @ core) @ factor.T
        values, vectors = np.linalg.eigh(hermitian_part(dense))
        self._base, self._eigen = base, Directions(vectors, values)

    def solve(self, b: Array) -> Array:
        """Solve for right-hand sides (n,) or (n, m)."""
        vectors, values = self._eigen.invertible()
        solution: Array = vectors @ ((vectors.T @ b).T / values).T
        return solution

    def inverse(self) -> tuple[Base, Array, Array]:
        """Return base, factor and core of the inverse; the base is zero."""
        vectors, values = self._eigen.invertible()
        p = self._base.partition
        zero = BlockConstantMatrix(p, np.zeros(p.n_blocks, dtype=self._base.dtype))
        return zero, vectors, np.diag(1 / values)

    def slogdet(self) -> tuple[Any, Any]:
        """Return the sign and the logarithm of the absolute determinant."""
        return self._eigen.slogdet()


class WoodburySolver(LowRankSolver):
    """For a base that is not definite, and a factor with fewer columns than rows.

    With ``H = B^-1 V`` and ``G = V^T H`` the inverse is ``B^-1 - H C (I + G C)^-1 H^T``:
    Woodbury's identity, which does not invert C (:ref:`theory-scaled`).
    """

    def __init__(self, base: Base, factor: Array, core: Array) -> None:
        self._base, self._factor, self._core = base, factor, core

    @cached_property
    def _solved_factor(self) -> Array:
        """``H = B^-1 V``, (n, r)."""
        return self._base.solve(self._factor)

    @cached_property
    def _inner(self) -> Core:
        """``I + G C``, (r, r)."""
        return inner_core(self._core, hermitian_part(self._factor.T @ self._solved_factor))

    @cached_property
    def _inverse_core(self) -> Array:
        """``-C (I + G C)^-1``, (r, r), symmetric."""
        return -conditional_core(self._core, self._inner)

    def solve(self, b: Array) -> Array:
        """Solve for right-hand sides (n,) or (n, m)."""
        H = self._solved_factor
        solution: Array = self._base.solve(b) + H @ (self._inverse_core @ (H.T @ b))
        return solution

    def inverse(self) -> tuple[Base, Array, Array]:
        """Return base, factor and core of the inverse."""
        return self._base.inv(), self._solved_factor, self._inverse_core

    def slogdet(self) -> tuple[Any, Any]:
        """Return the sign and the logarithm of the absolute determinant."""
        sign, logdet = self._base.slogdet()
        inner_sign, inner_logdet = factors.slogdet(self._inner)
        return sign * inner_sign, logdet + inner_logdet


def inner_core(core: Array, gram: Array) -> Core:
    """Return ``I + G C``, (r, r), for the core C and ``G = V^T B^-1 V``."""
    return dense_core(np.eye(len(gram)) + gram @ core, "low-rank")


def conditional_core(core: Array, inner: Core) -> Array:
    """Return ``C (I + G C)^-1``, (r, r), symmetric.

    It is minus the core of the inverse, and the covariance of the weights of the columns of V, given
    all variables (:ref:`theory-parts`).
    """
    return hermitian_part(core @ factors.inv(inner))
