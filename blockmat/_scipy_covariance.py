"""Structured matrices as a scipy.stats.Covariance."""

from functools import cached_property

import numpy as np
from scipy.stats import Covariance

from blockmat import functions
from blockmat._validation import Array
from blockmat._whitening import WhiteningOperator
from blockmat.exceptions import IndefiniteMatrixError, NotHermitianError
from blockmat.matrix import BlockConstantMatrix

__all__ = ["SingularCovariance", "WhiteningCovariance"]


class SingularCovariance(Covariance):  # type: ignore[misc]
    """What scipy.stats needs of a positive semi-definite block-constant matrix.

    Whitening multiplies by the square root of the pseudo-inverse and colouring by the square
    root. Eigenvalues that are zero to rounding are left out of both, and of the
    rank and the pseudo-determinant, as `scipy.stats` does for singular matrices.

    Parameters
    ----------
    matrix : BlockConstantMatrix
        A real symmetric matrix without negative eigenvalues.
    """

    def __init__(self, matrix: BlockConstantMatrix) -> None:
        if not matrix.is_hermitian:
            raise NotHermitianError("a covariance must be symmetric, and the matrix is not")
        cores = matrix._finite_cores()
        if any((functions.signs(core) < 0).any() for core in cores):
            raise IndefiniteMatrixError(
                f"a covariance cannot have negative eigenvalues, and the smallest is "
                f"{matrix.eigvalsh()[0][0]:.3g}"
            )
        parts = [functions.power_on_range(core, 1.0) for core in cores]
        self._matrix = matrix
        self._log_pdet = sum(log for _, log, _ in parts)
        self._rank = sum(rank for _, _, rank in parts)
        self._shape = matrix.shape
        self._allow_singular = True

    # Each on first use: densities need only the second, samples only the first.

    @cached_property
    def _root(self) -> BlockConstantMatrix:
        return self._power(0.5)

    @cached_property
    def _inverse_root(self) -> BlockConstantMatrix:
        return self._power(-0.5)

    @cached_property
    def _projector(self) -> BlockConstantMatrix:
        return self._power(0.0)

    def _power(self, p: float) -> BlockConstantMatrix:
        return self._matrix._map(lambda core: functions.power_on_range(core, p)[0])

    @cached_property
    def _covariance(self) -> Array:
        return self._matrix.toarray()

    def _whiten(self, x: Array) -> Array:
        return _apply_to_last_axis(self._inverse_root, x)

    def _colorize(self, x: Array) -> Array:
        return _apply_to_last_axis(self._root, x)

    def _support_mask(self, x: Array) -> Array:
        """Whether x lies in the range of the matrix, to rounding."""
        outside = x - _apply_to_last_axis(self._projector, x)
        tolerance = 1e3 * np.finfo(self._matrix.dtype).eps * np.linalg.norm(x, axis=-1)
        mask: Array = np.linalg.norm(outside, axis=-1) <= tolerance
        return mask


def _apply_to_last_axis(A: BlockConstantMatrix, x: Array) -> Array:
    rows = x.reshape(-1, x.shape[-1])
    result: Array = A.dot(rows.T).T.reshape(x.shape)
    return result


class WhiteningCovariance(Covariance):  # type: ignore[misc]
    """What scipy.stats needs of a positive definite covariance.

    Parameters
    ----------
    matrix : WhiteningOperator
        A real symmetric positive definite matrix.
    """

    def __init__(self, matrix: WhiteningOperator) -> None:
        matrix.whiten(np.zeros(matrix.shape[0]))  # refuses other matrices
        self._matrix = matrix
        self._log_pdet = float(matrix.astype(np.float64).logdet())
        self._rank = matrix.shape[0]
        self._shape = matrix.shape
        self._allow_singular = False

    @cached_property
    def _covariance(self) -> Array:
        return self._matrix.toarray()

    def _whiten(self, x: Array) -> Array:
        return self._matrix.whiten(x)

    def _colorize(self, x: Array) -> Array:
        return self._matrix.colorize(x)
