"""Matrices as `scipy.stats.Covariance`."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import Covariance

from blockmat.blocks.checks import Array
from blockmat.cores import functions, rank
from blockmat.cores.core import Core
from blockmat.exceptions import IndefiniteMatrixError, NotHermitianError

__all__ = ["SingularCovariance", "WhiteningCovariance"]


class SingularCovariance(Covariance):  # type: ignore[misc]
    """A positive semi-definite block-constant matrix for scipy.stats.

    Whitening multiplies by the square root of the pseudo-inverse and colouring by the square root.
    Both, the rank and the pseudo-determinant leave out eigenvalues that are zero to rounding
    (:ref:`theory-rank`), as `scipy.stats` does for singular matrices.

    Parameters
    ----------
    matrix : BlockConstantMatrix
        A real symmetric matrix without negative eigenvalues.
    cores : sequence of Core
        The cores of its direct sum.
    power : callable
        Takes p and returns the matrix with its positive eigenvalues raised to the power p.
    """

    def __init__(self, matrix: Any, cores: Sequence[Core], power: Callable[[float], Any]) -> None:
        if not matrix.is_hermitian:
            raise NotHermitianError("a covariance must be symmetric, and the matrix is not")
        if any((rank.eigenvalue_signs(core) < 0).any() for core in cores):
            raise IndefiniteMatrixError(
                f"a covariance cannot have negative eigenvalues, and the smallest is "
                f"{matrix.eigvalsh()[0][0]:.3g}"
            )
        parts = [functions.power_of_positive_part(core, 1.0) for core in cores]
        self._matrix, self._power = matrix, power
        self._log_pdet = sum(part.logdet for part in parts)
        self._rank = sum(part.rank for part in parts)
        self._shape = matrix.shape
        self._allow_singular = True

    # Made on first use: samples need the root only, densities the inverse root only.

    @cached_property
    def _root(self) -> Any:
        return self._power(0.5)

    @cached_property
    def _inverse_root(self) -> Any:
        return self._power(-0.5)

    @cached_property
    def _projector(self) -> Any:
        return self._power(0.0)

    @cached_property
    def _covariance(self) -> Array:
        dense: Array = self._matrix.toarray()
        return dense

    def _whiten(self, x: Array) -> Array:
        return _apply_to_last_axis(self._inverse_root, x)

    def _colorize(self, x: Array) -> Array:
        return _apply_to_last_axis(self._root, x)

    def _support_mask(self, x: Array) -> Array:
        """Tell for each vector whether it lies in the range of the matrix, to rounding."""
        outside = x - _apply_to_last_axis(self._projector, x)
        tolerance = 1e3 * np.finfo(self._matrix.dtype).eps * np.linalg.norm(x, axis=-1)
        mask: Array = np.linalg.norm(outside, axis=-1) <= tolerance
        return mask


def _apply_to_last_axis(A: Any, x: Array) -> Array:
    rows = x.reshape(-1, x.shape[-1])
    result: Array = A.dot(rows.T).T.reshape(x.shape)
    return result


class WhiteningCovariance(Covariance):  # type: ignore[misc]
    """A positive definite matrix that whitens and colours, for scipy.stats.

    Parameters
    ----------
    matrix : WhiteningOperator
        A real symmetric positive definite matrix.
    """

    def __init__(self, matrix: Any) -> None:
        matrix.whiten(np.zeros(matrix.shape[0]))  # raises unless it is positive definite
        self._matrix = matrix
        self._log_pdet = float(matrix.astype(np.float64).logdet())
        self._rank = matrix.shape[0]
        self._shape = matrix.shape
        self._allow_singular = False

    @cached_property
    def _covariance(self) -> Array:
        dense: Array = self._matrix.toarray()
        return dense

    def _whiten(self, x: Array) -> Array:
        whitened: Array = self._matrix.whiten(x)
        return whitened

    def _colorize(self, x: Array) -> Array:
        coloured: Array = self._matrix.colorize(x)
        return coloured
